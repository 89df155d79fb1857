import contextlib
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssyncd import config
from ssyncd.config import Config, EmbeddedConfig, FolderConfig, ServeConfig, ServerConfig
from ssyncd.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return file


def test_without_a_file_there_are_the_defaults(tmp_path):
    assert config.load(tmp_path / "none.toml") == Config()


def test_an_empty_file_gives_the_defaults(tmp_path):
    assert config.load(write(tmp_path, "")) == Config()


def test_every_kind_of_value_is_read(tmp_path):
    file = write(
        tmp_path,
        """
        device = "laptop"
        text_merge = false
        hold_share = 1
        hold_least = 3
        workers = 4
        log_level = "debug"
        [server]
        url = "https://sync.example"
        app = "a"
        api_key = "k"
        auth_url = "https://auth.example"
        websocket_url = "wss://sync.example/x"
        object_limit = 200_000
        ca_file = "ca.pem"
        [embedded]
        listen = "0.0.0.0:9000"
        [serve]
        version_max = 5
        version10_max = 0
        object_limit = 131072
        [[folder]]
        path = "/data/one"
        [[folder]]
        path = "two"
        name = "Zwei"
        ignore = ["*.o", "build/"]
        """,
    )
    assert config.load(file) == Config(
        device="laptop",
        text_merge=False,
        hold_share=1.0,
        hold_least=3,
        workers=4,
        log_level="debug",
        server=ServerConfig(
            "https://sync.example",
            "a",
            "k",
            "https://auth.example",
            "wss://sync.example/x",
            200000,
            tmp_path / "ca.pem",
        ),
        embedded=EmbeddedConfig("0.0.0.0:9000"),
        serve=ServeConfig(5, 0, 131072),
        folder=(FolderConfig(Path("/data/one")), FolderConfig(tmp_path / "two", "Zwei", ("*.o", "build/"))),
    )


def test_a_path_may_start_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert config.load(write(tmp_path, '[[folder]]\npath = "~/Sync"')).folder[0].path == Path("/home/somebody/Sync")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("devise = 'x'", ["devise", "unknown", "device?"]),
        ("[server]\nurll = 'x'", ["server.urll", "unknown", "url?"]),
        ("[[folder]]\npath = '/a'\nnaem = 'x'", ["folder.naem", "unknown", "name?"]),
        ("[zzz]\na = 1", ["zzz", "unknown"]),
        ("[[folders]]\npath = '/a'", ["folders", "unknown", "folder?"]),
        ("ignore = ['*.o']", ["ignore", "unknown here", "belongs in [[folder]]"]),
        ("[[folder]]\npath = '/a'\nlog_level = 'debug'", ["folder.log_level", "belongs above the first heading"]),
        ("object_limit = 131072", ["object_limit", "belongs in [server] or in [serve]"]),
        ("workers = true", ["workers", "whole number"]),
        ("workers = 2.5", ["workers", "whole number"]),
        ("workers = 0", ["workers", "from 1 to 64"]),
        ("hold_share = 2", ["hold_share", "from 0 to 1"]),
        ("hold_share = nan", ["hold_share", "from 0 to 1"]),
        ("text_merge = 1", ["text_merge", "true or false"]),
        ("device = 3", ["device", "a text"]),
        ("log_level = 'loud'", ["log_level", "one of", "debug"]),
        ("[server]\nurl = 'ftp://x'", ["server.url", "http"]),
        ("[server]\nauth_url = 'auth.example'", ["server.auth_url", "http"]),
        ("[server]\nwebsocket_url = 'https://x'", ["server.websocket_url", "wss://"]),
        ("[server]\nobject_limit = 1000", ["server.object_limit", "from 131072 to"]),
        ("[serve]\nversion_max = 0", ["serve.version_max", "from 1 to"]),
        ("[serve]\nobject_limit = 9999999", ["serve.object_limit", "from 131072 to 4194304"]),
        ("[embedded]\nlisten = '8730'", ["embedded.listen", "HOST:PORT"]),
        ("[embedded]\nlisten = 'h:99999'", ["embedded.listen", "HOST:PORT"]),
        ("server = 3", ["server", "table"]),
        ("folder = 3", ["folder", "[[folder]]"]),
        ("[folder]\npath = '/a'", ["folder", "[[folder]]"]),
        ("folder = [3]", ["folder", "table"]),
        ("[[folder]]\nname = 'x'", ["folder.path", "missing"]),
        ("[[folder]]\npath = ''", ["folder.path", "missing"]),
        ("[[folder]]\npath = '/a'\n[[folder]]\npath = '/a'", ["folder.path", "/a", "twice"]),
        ("[[folder]]\npath = '/a'\nignore = 'x'", ["folder.ignore", "list of texts"]),
        ("[[folder]]\npath = '/a'\nignore = [1]", ["folder.ignore", "list of texts"]),
        ("[[folder]]\npath = '~nobody-of-this-name/a'", ["folder.path", "a path"]),
        ("this is no TOML", ["cannot be read"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path, text, words):
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert all(word in str(caught.value) for word in [str(file), *words])


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(file)


def test_a_directory_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["device", "workers", "server", "folder", "embedded", "hold_share"]), json_like))
def test_no_value_gives_anything_but_settings_or_a_config_error(table):
    with contextlib.suppress(ConfigError):
        assert isinstance(config._Parser(Path("/c/config.toml")).config(table), Config)


def test_the_device_is_named_after_the_host_when_it_has_no_name():
    assert Config().device_name
    assert Config(device="x").device_name == "x"


def test_the_example_names_every_option_and_is_the_defaults(tmp_path):
    text = config.example()
    for section in (Config, ServerConfig, EmbeddedConfig, FolderConfig):
        for name, option, _ in config.declared(section):
            assert f"# {name} = " in text
            assert option.metadata["help"] in text
    assert config.load(write(tmp_path, text)) == Config()


def test_the_example_with_every_line_uncommented_is_valid(tmp_path):
    lines = [
        line.removeprefix("# ") if " = " in line or "[[" in line else line for line in config.example().split("\n")
    ]
    found = config.load(write(tmp_path, "\n".join(lines)))
    assert dataclasses.replace(found, folder=()) == Config()
    assert len(found.folder) == 1
