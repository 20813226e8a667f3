"""Where master keys come from: a file, a Vault (a real OpenBao), AWS Secrets Manager (moto's server); what fails."""

import base64
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer

from core import key_source
from core.aws import AwsSecret
from core.key_source import AwsAddress, VaultAddress
from core.start import StartError
from core.vault import VaultLogin, VaultSecret
from tests import vaults
from tests.ports import free_port
from tests.processes import Place
from tests.vaults import Vault, cluster_that_knows

SECRET = sha256(b"a key in a secret manager").hexdigest()
KEY = f"1:{SECRET}"
REGION = "eu-central-1"
pytestmark = pytest.mark.usefixtures("on_sqlite")


@pytest.fixture(scope="session")
def vault() -> Iterator[Vault]:
    """An OpenBao for all of them."""
    vaults.needed()
    with Vault() as one:
        yield one


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What writes secrets there, and the environment in which a service finds it."""
    for name, text in _AS_AWS.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_server)
    client = boto3.client("secretsmanager", region_name=REGION)
    yield client
    client.close()


_AS_AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
}


def in_vault(vault: Vault, path: str, login: VaultLogin, field: str = "master_key") -> VaultSecret:
    return VaultSecret(VaultAddress(vault.url, "secret", f"ledger/{path}", field), login)


def why(source: key_source.Source) -> str:
    """The sentence of a source that cannot be read; it holds no secret."""
    with pytest.raises(StartError) as refused:
        source.read()
    sentence = str(refused.value)
    assert SECRET[:8] not in sentence
    assert re.fullmatch(r"[A-Z].+\.", sentence)
    return sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "vault://vault.example.com/secret/session-ledger",
            VaultAddress("https://vault.example.com:8200", "secret", "session-ledger", "master_key"),
        ),
        (
            "vault://vault.example.com:443/kv/teams/login/ledger#key",
            VaultAddress("https://vault.example.com:443", "kv", "teams/login/ledger", "key"),
        ),
        ("vault+http://127.0.0.1:1/s/p", VaultAddress("http://127.0.0.1:1", "s", "p", "master_key")),
        ("aws://eu-central-1/prod/session-ledger", AwsAddress("eu-central-1", "prod/session-ledger", "")),
        (
            "aws://eu-central-1/arn:aws:secretsmanager:eu-central-1:123456789012:secret:ledger-AbCdEf#key",
            AwsAddress("eu-central-1", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:ledger-AbCdEf", "key"),
        ),
    ],
)
def test_an_address_names_everything_but_who_asks(text: str, expected: object) -> None:
    assert expected == key_source.address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY,
        "vault://",
        "vault://host",
        "vault://host/mount",
        "vault+http://vault.example.com/a/b",
        "aws://x",
        "gcp://a/b",
    ],
)
def test_another_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="must b") as refused:
        key_source.address(text)
    assert SECRET[:8] not in str(refused.value)


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "key"
    source = key_source.File(file)
    file.write_text(f"{KEY}\n")
    first = source.read()
    file.write_text(f"2:{SECRET}\n")

    assert (KEY, f"2:{SECRET}") == (first, source.read())
    file.write_text(" \n")
    assert "is empty" in why(source)
    file.unlink()
    assert "cannot be read" in why(source)


def test_a_token_reads_the_newest_version_and_is_renewed(vault: Vault) -> None:
    token = vault.reader()
    source = in_vault(vault, "newest", VaultLogin(token=token))
    vault.put("newest", master_key="of before")
    vault.put("newest", master_key=f" {KEY} \n")
    before = vault.runs_out(token)

    assert KEY == source.read()
    assert vault.runs_out(token) > before


def test_a_role_signs_in_with_its_secret_id_and_gives_its_token_back(vault: Vault) -> None:
    role, secret_id = vault.approle()
    vault.put("role", master_key=KEY)
    source = in_vault(vault, "role", VaultLogin("approle", role=role, secret_id=secret_id))
    before = vault.living_tokens()

    assert [KEY, KEY] == [source.read(), source.read()]
    assert before == vault.living_tokens()


def test_a_pod_signs_in_with_its_own_token(vault: Vault, tmp_path: Path) -> None:
    now = int(time.time())
    claims = {
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:default:ledger",
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "ledger", "uid": "u-1"}},
        **dict.fromkeys(("iat", "nbf"), now),
        "exp": now + 600,
    }
    proof = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256")
    pod = tmp_path / "token"
    pod.write_text(proof)
    vault.put("pod", master_key=KEY)
    source = in_vault(vault, "pod", VaultLogin("kubernetes", role="service", pod=pod))

    with cluster_that_knows(proof) as cluster:
        vault.kubernetes(cluster)
        assert KEY == source.read()
        pod.write_text(proof[:-4] + "AAAA")
        assert "does not admit this service by kubernetes" in why(source)
    pod.unlink()
    assert "cannot be read" in why(source)


def test_what_a_vault_refuses_is_one_sentence_each(vault: Vault) -> None:
    vault.put("there", master_key=KEY, empty="")
    may, role = VaultLogin(token=vault.reader()), vault.approle()[0]
    unknown, other = VaultLogin(token="s.of-nobody"), VaultLogin(token=vault.reader("default"))

    assert "does not let this service read" in why(in_vault(vault, "there", unknown))
    assert "does not let this service read" in why(in_vault(vault, "there", other))
    assert "has no secret secret/ledger/not-there" in why(in_vault(vault, "not-there", may))
    assert "There is no text in the field other" in why(in_vault(vault, "there", may, "other"))
    assert "There is no text in the field empty" in why(in_vault(vault, "there", may, "empty"))
    wrong = VaultLogin("approle", role=role, secret_id="wrong")
    assert "does not admit this service by approle" in why(in_vault(vault, "there", wrong))


def test_a_vault_that_is_not_there_or_is_something_else_is_one_sentence(aws_server: str) -> None:
    login = VaultLogin(token="s.token")
    nobody = VaultAddress(f"http://127.0.0.1:{free_port()}", "secret", "ledger", "master_key")
    other = VaultAddress(aws_server, "secret", "ledger", "master_key")
    untrusted = VaultAddress(aws_server.replace("http:", "https:"), "secret", "ledger", "master_key")

    assert "does not answer" in why(VaultSecret(nobody, login))
    assert "The Vault at " in why(VaultSecret(other, login))
    assert re.search("not trusted|does not answer", why(VaultSecret(untrusted, login)))


def test_a_sealed_vault_is_one_sentence() -> None:
    vaults.needed()
    with Vault() as one:
        one.put("there", master_key=KEY)
        source = in_vault(one, "there", VaultLogin(token=one.reader()))
        assert KEY == source.read()
        one.root.sys.seal()
        assert "is sealed" in why(source)


def test_a_secret_of_aws_is_the_text_or_a_field_of_it(aws: Any) -> None:
    aws.create_secret(Name="plain", SecretString=f"{KEY}\n")
    made = aws.create_secret(Name="team/fields", SecretString=json.dumps({"key": KEY, "count": 3}))
    aws.create_secret(Name="bytes", SecretBinary=base64.b64encode(b"1:"))

    assert KEY == AwsSecret(AwsAddress(REGION, "plain", "")).read()
    assert KEY == AwsSecret(AwsAddress(REGION, "team/fields", "key")).read()
    assert KEY == AwsSecret(AwsAddress(REGION, made["ARN"], "key")).read()
    aws.put_secret_value(SecretId="plain", SecretString=f"2:{SECRET}")
    assert f"2:{SECRET}" == AwsSecret(AwsAddress(REGION, "plain", "")).read()
    for name, field in (("team/fields", "other"), ("team/fields", "count"), ("plain", "key"), ("bytes", "")):
        assert "There is no text in" in why(AwsSecret(AwsAddress(REGION, name, field)))


def test_what_aws_refuses_is_one_sentence_each(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.create_secret(Name="refused", SecretString=KEY)
    source = AwsSecret(AwsAddress(REGION, "refused", ""))

    assert "There is no secret not-there" in why(AwsSecret(AwsAddress(REGION, "not-there", "")))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in why(source)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "AWS knows no credentials" in why(source)


def test_aws_refuses_who_has_no_right_to_it(aws: Any, aws_server: str) -> None:
    iam = boto3.client("iam", region_name=REGION)
    aws.create_secret(Name="guarded", SecretString=KEY)
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    source = AwsSecret(AwsAddress(REGION, "guarded", ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        with authorizing(aws_server):
            assert "AWS does not let this service read" in why(source)
    iam.close()


@contextmanager
def authorizing(aws_server: str) -> Iterator[None]:
    """moto looks at policies from the first request on, until the block ends."""
    asking = {"url": f"{aws_server}/moto-api/reset-auth", "headers": {"Content-Type": "text/plain"}}
    httpx.post(content="0", **asking).raise_for_status()  # type: ignore[arg-type]
    try:
        yield
    finally:
        httpx.post(content="inf", **asking).raise_for_status()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [
        (VaultSecret(VaultAddress("http://127.0.0.1:1", "a", "b", "c"), VaultLogin(token="s")), "hvac", "vault"),
        (AwsSecret(AwsAddress(REGION, "a", "")), "boto3.session", "aws"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    source: key_source.Source, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert f"pip install 'session-ledger[{extra}]'" in why(source)


def test_no_source_shows_a_secret() -> None:
    login = VaultLogin("approle", token=SECRET, role="role", secret_id=SECRET)
    shown = repr((key_source.Given(KEY), login, VaultSecret(VaultAddress("u", "m", "p", "f"), login)))
    assert SECRET not in shown


@pytest.fixture
def place(tmp_path: Path) -> Place:
    one = Place(tmp_path)
    one.done("migrate")
    return one


def test_a_service_starts_with_a_key_from_a_vault_and_nothing_else_needs_it(place: Place, vault: Vault) -> None:
    vault.put("service", master_key=KEY)
    there = {"LEDGER_MASTER_KEY_FROM": vault.named("service"), "LEDGER_VAULT_TOKEN": vault.reader()}

    with place.serving(**there) as child:
        assert 200 == place.sign_in("admin", place.settings["LEDGER_ADMIN_PASSWORD"])
    assert not (place.data / "master-key").exists()
    assert SECRET not in child.out + child.err
    assert "It continues the checkpoint" in place.done("verify", **there)


def test_what_keeps_a_service_from_its_key_is_one_sentence(place: Place, vault: Vault) -> None:
    vault.put("malformed", master_key=f"{KEY}0")
    token = vault.reader()

    def refused(**settings: str) -> str:
        ended = place.run("serve", **settings)
        assert (2, 1) == (ended.status, len(ended.err.strip().splitlines())), ended
        assert SECRET[:8] not in ended.out + ended.err
        return ended.err

    assert "entry 1 of the master key" in refused(
        LEDGER_MASTER_KEY_FROM=vault.named("malformed"), LEDGER_VAULT_TOKEN=token
    )
    assert "has no secret" in refused(LEDGER_MASTER_KEY_FROM=vault.named("none"), LEDGER_VAULT_TOKEN=token)
    assert "Set LEDGER_VAULT_TOKEN" in refused(LEDGER_MASTER_KEY_FROM=vault.named("none"))
    assert "LEDGER_MASTER_KEY_FROM must be" in refused(LEDGER_MASTER_KEY_FROM=KEY)
    assert "not both" in refused(LEDGER_MASTER_KEY_FROM=vault.named("none"), LEDGER_MASTER_KEY=KEY)


def test_a_key_from_a_vault_that_is_not_the_ledgers_is_one_sentence(place: Place, vault: Vault) -> None:
    with place.serving(LEDGER_MASTER_KEY=KEY):
        pass
    vault.put("another", master_key="1:" + sha256(b"another").hexdigest())
    ended = place.run("serve", LEDGER_MASTER_KEY_FROM=vault.named("another"), LEDGER_VAULT_TOKEN=vault.reader())
    assert 2 == ended.status
    assert "Master key 1 is not the key 1 that this ledger was begun with" in ended.err
