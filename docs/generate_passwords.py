"""Writes `core/common_passwords.txt`: guesses of at least 15 characters, made by rules. Run it when a rule changes."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

MIN, MAX = 15, 40
TARGET = Path(__file__).parents[1] / "core" / "common_passwords.txt"
HEAD = "# Common passwords of 15 characters and more, folded; written by docs/generate_passwords.py, not by hand."

WORDS = """
password passwort passw0rd p@ssword p@ssw0rd pass secret letmein welcome login master admin administrator root user
guest test testing changeme default temp access qwerty asdf qwertz azerty abc abcd abc123 iloveyou loveyou love baby
angel princess sunshine summer winter spring autumn monday friday sunday football baseball soccer hockey monkey
dragon tiger eagle shadow superman batman pokemon starwars computer internet google facebook freedom whatever
trustno1 hello flower chocolate cookie hunter killer michael jessica charlie jordan thomas daniel ashley jennifer
london berlin paris america canada germany france forever family mother father happy lucky money power system server
security office company business
"""
PAIRED = """
password passw0rd secret letmein welcome login admin administrator root qwerty iloveyou loveyou love baby angel
princess sunshine football monkey dragon superman batman starwars computer internet trustno1 changeme default access
master hello forever family
"""
MONTHS = "january february march april may june july august september october november december"
SEASONS = "spring summer autumn winter fall"
ROWS = "1234567890 qwertyuiop asdfghjkl zxcvbnm qwertzuiop yxcvbnm azertyuiop qsdfghjklm wxcvbn"
COLUMNS = "1qaz 2wsx 3edc 4rfv 5tgb 6yhn 7ujm 8ik 9ol 0p"
DIGITS = """
1 12 123 1234 12345 123456 1234567 12345678 123456789 1234567890 0 00 000 007 11 111 1111 69 99 123123 321 654321
987654321 0987654321 2580
"""
PHRASES = """
correct horse battery staple
the quick brown fox
the quick brown fox jumps over the lazy dog
to be or not to be
may the force be with you
i love you so much
i love you forever
i love my family
i hate passwords
let me in please
let me in right now
this is my password
this is a password
my password is password
my secret password
what is my password
i forgot my password
password for today
you shall not pass
open sesame please
one two three four
one two three four five
happy birthday to you
happy new year
merry christmas
god is good all the time
jesus loves me
in god we trust
keep calm and carry on
hakuna matata
winter is coming
live long and prosper
knowledge is power
time is money
welcome to the jungle
welcome home
never gonna give you up
all you need is love
carpe diem
once upon a time
there is no place like home
i am your father
elementary my dear watson
hello world
do not forget
nobody knows this
super secret password
top secret password
change this password
please change me
change me now please
default password
administrator password
test password please ignore
a very long password
very secure password
this is very secure
this is a secure password
a secure password
correct horse battery staple password
four random words
random password
"""
YEARS = tuple(str(year) for year in range(1990, 2031))


def repeated() -> Iterator[str]:
    """A word or digits, two to five times, with and without something at the end; one character many times."""
    for unit, times, tail in product((*WORDS.split(), *DIGITS.split(), *YEARS), range(2, 6), ("", "!", "1")):
        yield unit * times + tail
    for letter, times in product("abcdefghijklmnopqrstuvwxyz0123456789", range(MIN, 21)):
        yield letter * times


def counted() -> Iterator[str]:
    """A word, or a word twice, with digits behind or before, and a mark."""
    for word, digits, tail in product(WORDS.split(), (*DIGITS.split(), *YEARS), ("", "!")):
        yield from (word + digits + tail, digits + word + tail)
    for word, digits, joint in product(WORDS.split(), ("123", "1234", *YEARS[30:]), ("", "@", "#")):
        yield from (word + word + joint + digits, word + joint + digits + word)


def paired() -> Iterator[str]:
    """Two words."""
    for first, second, tail in product(PAIRED.split(), PAIRED.split(), ("", "1", "123")):
        yield first + second + tail


def dated() -> Iterator[str]:
    """Months and seasons with years."""
    for name, year in product((*MONTHS.split(), *SEASONS.split()), YEARS[25:]):
        yield from (name + year + name, name + year + year, name + year + name + year, f"{name}{year}password")
        yield from (f"password{name}{year}", f"welcome{name}{year}", f"{name} {year} {name}", f"{name}-{year}-{name}")


def walked() -> Iterator[str]:
    """Ways over the keyboard: rows and columns, forwards and backwards, one after the other."""
    for first, second in product(ROWS.split(), ROWS.split()):
        yield from (first + second, (first + second)[::-1], first + second[::-1], first[::-1] + second)
        yield from ((first + second)[:size] for size in range(MIN, len(first + second)))
    columns = COLUMNS.split()
    for start, size in product(range(len(columns)), range(4, 8)):
        way = "".join(columns[(start + step) % len(columns)] for step in range(size))
        yield from (way, way[::-1], "".join(column[::-1] for column in columns[start : start + size]))


def counting() -> Iterator[str]:
    """The alphabet and the digits, from any place on."""
    for line in ("abcdefghijklmnopqrstuvwxyz", "0123456789" * 4, "9876543210" * 4, "zyxwvutsrqponmlkjihgfedcba"):
        for start, size in product(range(26), range(MIN, 27)):
            yield line[start : start + size]
    for size in range(5, 21):
        yield from ("".join(f"{letter}{n}" for n, letter in enumerate("abcdefghij" * 2, 1))[: size * 2],)
        yield "".join(str(n) for n in range(1, size + 6))


def spoken() -> Iterator[str]:
    """Sentences that everybody knows, written together, with spaces or dashes, and with little behind."""
    for phrase, joint, tail in product(PHRASES.strip().splitlines(), ("", " ", "-"), ("", "1", "!")):
        yield joint.join(phrase.split()) + tail


def guesses() -> list[str]:
    """All of them, sorted, each once."""
    rules = (repeated, counted, paired, dated, walked, counting, spoken)
    return sorted({guess.casefold() for rule in rules for guess in rule() if MIN <= len(guess) <= MAX})


def main() -> None:
    """Write the list."""
    TARGET.write_text("\n".join((HEAD, *guesses())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
