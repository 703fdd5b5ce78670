"""A server that speaks TLS only, with a certificate that an authority of its own has signed: itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_diagnostics.collectors.cassandra.connection import Connection, UnreachableError
from pytest_diagnostics.collectors.cassandra.queries import Query
from pytest_diagnostics.collectors.cassandra.target import Target
from tests.cassandra.jars import MissingError
from tests.cassandra.launcher import Cluster

pytest.importorskip("cassandra", exc_type=ImportError)

VIEWS = Query("views", "system_schema", "views", node_local=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a key and its certificate; give the certificate's file, beside which the key store lies."""
    keytool = shutil.which("keytool")
    if keytool is None:
        raise MissingError("there is no keytool, which comes with Java")
    folder = tmp_path_factory.mktemp("tls")
    store = ("-keystore", str(folder / "store.p12"), "-storepass", "changeit", "-alias", "node")
    of_key = ("-keyalg", "RSA", "-dname", "CN=node.test", "-ext", "bc=ca:true", "-storetype", "PKCS12")
    made = folder / "authority.pem"
    for command in (("-genkeypair", *of_key), ("-exportcert", "-rfc", "-file", str(made))):
        subprocess.run([keytool, *command, *store], check=True, capture_output=True, timeout=60)
    return made


@pytest.fixture(scope="module")
def encrypted(authority: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a node of which clients must speak TLS."""
    options = {
        "enabled": True,
        "optional": False,
        "keystore": str(authority.with_name("store.p12")),
        "keystore_password": "changeit",
        "store_type": "PKCS12",
    }
    folder = tmp_path_factory.mktemp("cassandra")
    with Cluster("5.0.8", directory=folder, config={"client_encryption_options": options}) as cluster:
        yield cluster


def test_tls_is_spoken_with_whom_our_authority_signed_and_with_nobody_else(
    encrypted: Cluster, authority: Path
) -> None:
    points = tuple(encrypted.addresses)
    trusting = Connection(Target(points, encrypted.port, tls=True, tls_authority=str(authority)))
    reply = trusting.ask([VIEWS]).anyone("views")
    trusting.close()

    assert reply is not None
    assert reply.rows == []
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        Connection(Target(points, encrypted.port, tls=True)).open()
    with pytest.raises(UnreachableError):
        Connection(Target(points, encrypted.port)).open()
