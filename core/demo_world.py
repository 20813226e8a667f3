"""The people of a demonstration: names, time zones, devices, networks, days. Invented by a seeded random; no clock.

Addresses are those set aside for documentation (RFC 5737, RFC 3849), for homes and offices also private ones (RFC 1918)
and for mobile networks those of carriers (RFC 6598): nothing here can be somebody's.
"""

from itertools import product
from random import Random
from typing import Final, NamedTuple

from core.policy import SECOND, WEB
from core.presence import Presence
from events import ids

MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

IOS: Final = "ios"
ANDROID: Final = "android"

_FIRST = (
    "alice amir anna ben bianca bob carla charlie chen daniel diego elena emil fatima felix grace hana hugo ines ivan "
    "jana jonas julia kai karim lara leo lucia malik maria mateo mia nadia nils noor olga omar pablo petra priya "
    "rafael rosa sara simon sofia tariq theo tomas vera viktor wanda yara yusuf zoe"
).split()
_LAST = (
    "adler almeida bakker barros becker berg brandt castro costa diaz duarte ferrari fischer fuchs garcia haas hansen "
    "hoffman ito jansen keller khan kim kowalski larsen lopez marino martin meyer moreau murphy nguyen novak okafor "
    "olsen ortiz patel peeters petrov reyes ricci rossi sato schmidt silva singh sousa suzuki tanaka vega visser "
    "walker weber wolf yilmaz"
).split()
_ZONES = (1, 1, 1, 0, 2, 3, -5, -5, -8, -3, 9, 5, 10)
"""Hours from UTC, as often as people live there."""
_NIGHT_AND_DAY = (4, 2, 2, 2, 3, 6, 15, 40, 75, 95, 100, 95, 80, 90, 95, 90, 85, 75, 65, 60, 60, 50, 30, 12)
"""How much is done in each local hour, of a hundred."""
_WEEKEND = 45


class Device(NamedTuple):
    """What somebody signs in with."""

    client: str
    agent: str
    name: str = ""

    @property
    def carriage(self) -> str:
        return "body" if self.client in {IOS, ANDROID} else "cookie"


class Person(NamedTuple):
    """An account, and where and with what its owner is."""

    subject: bytes
    name: str
    zone: int
    since: int
    """Registered at, microseconds."""
    home: str
    office: str
    browser: Device
    phone: Device

    def at_desk(self, random: Random) -> Presence:
        """In the browser, at the office or at home."""
        return Presence(self.office if random.random() < 0.4 else self.home, self.browser.agent)

    def on_phone(self, random: Random) -> Presence:
        """With the phone, in the Wi-Fi at home or on the way."""
        return Presence(self.home if random.random() < 0.55 else carrier(random), self.phone.agent)


def people(random: Random, count: int, start: int, end: int) -> list[Person]:
    """So many people. Most had an account from the beginning; the others came since."""
    names = [f"{first}.{last}" for first, last in product(_FIRST, _LAST)]
    random.shuffle(names)
    found = []
    for number in range(count):
        again, place = divmod(number, len(names))
        name = f"{names[place]}{again + 1 if again else ''}@example.com"
        early = number < count * 0.7
        since = start + HOUR + number * SECOND // 4 if early else random.randrange(start + HOUR, end - DAY // 2)
        found.append(_person(random, name, since))
    return sorted(found, key=lambda one: one.since)


def _person(random: Random, name: str, since: int) -> Person:
    return Person(
        subject=ids.new_id(since, random.randbytes(ids.RANDOM_BYTES)),
        name=name,
        zone=random.choice(_ZONES),
        since=since,
        home=_home(random),
        office=f"203.0.113.{random.randrange(2, 40)}",
        browser=Device(WEB, random.choice(BROWSERS)),
        phone=random.choice(PHONES),
    )


def _home(random: Random) -> str:
    if random.random() < 0.4:
        return f"2001:db8:{random.randrange(1, 65536):x}:{random.randrange(256) << 8:x}::{random.randrange(2, 4096):x}"
    return f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(2, 255)}"


def carrier(random: Random) -> str:
    """An address of a mobile network, another one each time."""
    return f"100.{random.randrange(64, 128)}.{random.randrange(256)}.{random.randrange(2, 255)}"


def stranger(random: Random) -> Presence:
    """Whoever holds what is not theirs: a rented machine or a browser far away."""
    network = random.choice(("192.0.2", "198.51.100"))
    return Presence(f"{network}.{random.randrange(2, 255)}", random.choice(STRANGERS))


def busy(at: int, zone: int) -> float:
    """How likely people of this time zone do something at this moment, from 0 to 1."""
    hours = at // HOUR + zone
    weekend = (hours // 24 + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    return _NIGHT_AND_DAY[hours % 24] * (_WEEKEND if weekend else 100) / 10_000


def _chrome(system: str, version: int, more: str = "") -> str:
    return f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0{more} Safari/537.36"


_WINDOWS = "Windows NT 10.0; Win64; x64"
_MAC = "Macintosh; Intel Mac OS X 10_15_7"
_LINUX = "X11; Linux x86_64"
_IPHONE = "iPhone; CPU iPhone OS 26_1 like Mac OS X"

BROWSERS: Final = (
    *(_chrome(_WINDOWS, version) for version in (145, 146, 147, 147)),
    *(_chrome(_MAC, version) for version in (146, 147)),
    _chrome(_LINUX, 147),
    *(f"{_chrome(_WINDOWS, version)} Edg/{version}.0.0.0" for version in (146, 147)),
    *(f"Mozilla/5.0 ({system}; rv:148.0) Gecko/20100101 Firefox/148.0" for system in (_WINDOWS, _LINUX)),
    f"Mozilla/5.0 ({_MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15",
    f"Mozilla/5.0 ({_MAC}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    f"Mozilla/5.0 ({_IPHONE}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
    _chrome("Linux; Android 10; K", 147, " Mobile"),
)
PHONES: Final = (
    Device(IOS, "Harbour/5.2.1 (com.example.harbour; build:521; iOS 26.1.0) Alamofire/5.10.2", "iPhone"),
    Device(IOS, "Harbour/5.2.0 (com.example.harbour; build:514; iOS 26.1.0) Alamofire/5.10.2", "iPhone"),
    Device(IOS, "Harbour/5.1.4 (com.example.harbour; build:498; iOS 26.0.1) Alamofire/5.10.2", "iPhone"),
    Device(ANDROID, "Harbour/5.2.1 Android/16 (Pixel 9)", "Pixel 9"),
    Device(ANDROID, "Harbour/5.2.0 Android/16 (SM-S931B)", "Galaxy S25"),
    Device(ANDROID, "Harbour/5.1.4 Android/15 (moto g85)"),
)
STRANGERS: Final = (
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    f"{_chrome(_WINDOWS, 138)} OPR/122.0.0.0",
    "python-requests/2.32.5",
    "curl/8.15.0",
)
"""None of them is a device of `people`."""
