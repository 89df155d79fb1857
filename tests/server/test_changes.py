"""Changes over a real socket: what is told to whom. Numbers are those of "Server MUST" in the protocol notes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import Running, run, running, sets, told


def test_21_to_24_every_member_of_an_entry_is_right(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await server.live("author/1 é"), await server.live("b")
        created = await socket.put("k", sets(t="abc"))
        assert created.pop("cv")
        ccids = created.pop("ccids")
        assert created == {"clientid": "author/1 é", "id": "k", "o": "M", "v": sets(t="abc"), "ev": 1}
        changed = await socket.put("k", {"t": {"o": "d", "v": "=3\t+d"}}, 1)
        assert (changed["sv"], changed["ev"], changed["o"]) == (1, 2, "M")
        removed = await socket.put("k", None)
        assert (removed["ev"], removed["o"]) == (3, "-")
        assert "v" not in removed
        again = await socket.put("k", sets(t="z"))
        assert again["ev"] == 4
        assert "sv" not in again
        heard = [change for _ in range(4) for change in await other.changes()]
        assert heard[0] == created | {"cv": heard[0]["cv"], "ccids": ccids}
        assert heard[1:] == [changed, removed, again]
        assert len({change["cv"] for change in heard}) == 4

    told(tmp_path, story)


@pytest.mark.parametrize("sv", [1, "1"])
def test_25_26_edits_of_one_text_by_two_clients_both_survive(tmp_path: Path, sv: Any) -> None:
    async def story(server: Running) -> None:
        one, two = await server.live("a"), await server.live("b")
        await one.put("k", sets(t="AC"))
        await one.change("k", {"t": {"o": "d", "v": "=1\t+B\t=1"}}, sv)
        await one.changes()
        await two.change("k", {"t": {"o": "d", "v": "=2\t+D"}}, sv)
        assert (await one.one())["v"] == {"t": {"o": "d", "v": "=3\t+D"}}
        assert json.loads((await one.ask("0:e:k.3")).partition("\n")[2]) == {"data": {"t": "ABCD"}}

    told(tmp_path, story)


def test_27_an_edit_made_several_versions_ago_still_counts(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("k", sets(t="abc", n=0))
        for version in range(1, 5):
            await socket.put("k", {"n": {"o": "r", "v": version}}, version)
        await socket.put("k", {"t": {"o": "d", "v": "=3\t+!"}}, 1)
        assert await socket.ask("0:e:k.6") == '0:e:k.6\n{"data":{"t":"abc!","n":4}}'

    told(tmp_path, story)


def test_28_a_settled_ccid_is_a_duplicate_for_ever_a_refused_one_is_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as server:
            socket = await server.live()
            assert (await socket.put("k", sets(n=1), ccid="applied"))["ev"] == 1
            assert (await socket.put("k", sets(n=1), ccid="no-effect"))["error"] == 412
            assert (await socket.put("k", sets(n=2), 7, ccid="refused"))["error"] == 405
            assert (await socket.put("k", sets(n=2), 1, ccid="refused"))["ev"] == 2
        async with running(tmp_path) as server:
            socket = await server.live("other")
            for ccid in ("applied", "no-effect", "refused"):
                assert (await socket.put("k", sets(n=9), ccid=ccid))["error"] == 409
            assert (await socket.put("k", sets(n=9), ccid="applied", id="elsewhere"))["error"] == 409
            await socket.live(1, "tags")
            await socket.change("k", sets(n=9), ccid="applied", number=1)
            assert (await socket.one(1))["ev"] == 1

    run(story())


def test_29_refusals_are_numbers_for_the_author_alone(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket, other = await server.live(), await server.live("b")
        await socket.put("k", sets(t="abc"))
        await other.changes()
        expected = [
            (("k", sets(t="abc"), 1), 412),
            (("k", {"t": {"o": "d", "v": "=9"}}, 1), 440),
            (("k", sets(t="z"), 5), 405),
            (("never", sets(t="z"), 1), 404),
            (("never", None, None), 412),
            (("k", sets(t="x" * 2000), 1), 413),
            (("no/such key", sets(t="z"), None), 400),
            (("x" * 257, sets(t="z"), None), 400),
        ]
        for (key, v, sv), code in expected:
            ccid = await socket.change(key, v, sv)
            assert await socket.one() == {"clientid": "a", "id": key, "error": code, "ccids": [ccid]}
        await socket.change("k", sets(t="z"), o="DROP")
        assert (await socket.one())["error"] == 400
        await other.nothing_more()

    told(tmp_path, story, object_limit=1000)


def test_30_what_node_echoes_does_not_remove_what_was_made_again(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author, node = await server.live(), await server.live("node-1", library="node-simperium")
        await author.put("k", sets(n=1))
        await author.put("k", None)
        await author.put("k", sets(n=2))
        while (await node.changes())[-1]["ev"] < 3:
            pass
        assert (await node.put("k", None, ccid="echo"))["error"] == 412
        assert (await node.put("k", None, ccid="echo"))["error"] == 409
        await author.nothing_more()
        # The next one is meant.
        assert (await node.put("k", None))["ev"] == 4

    told(tmp_path, story)


def test_30_echoes_are_counted_over_a_reconnect_and_for_node_only(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author = await server.live()
        node, other = (
            await server.live("node-1", library="node-simperium"),
            await server.live("droid", library="android"),
        )
        await author.put("k", sets(n=1))
        await author.put("k", None)
        for socket in (node, other):
            while (await socket.changes())[-1]["ev"] < 2:
                pass
        await node.socket.close()
        await author.put("k", sets(n=2))
        node = await server.live("node-1", library="node-simperium")
        assert (await node.put("k", None))["error"] == 412
        await other.changes()
        assert (await other.put("k", None))["ev"] == 4

    told(tmp_path, story)


def test_31_d_without_v_and_node_s_wrapped_d(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("k", sets(t="abc", n=1))
        await socket.send('0:c:{"id":"k","o":"M","ccid":"ios","sv":"1","d":{"t":"abcd","n":1}}')
        assert (await socket.one())["v"] == {"t": {"o": "d", "v": "=3\t+d"}}
        wrapped = {"version": 1, "data": {"t": "abc", "n": 1}}
        answer = await socket.put("k", {"n": {"o": "r", "v": 9}}, 1, d=wrapped)
        assert answer["v"] == {"n": {"o": "r", "v": 9}}
        assert await socket.ask("0:e:k.3") == '0:e:k.3\n{"data":{"t":"abcd","n":9}}'

    told(tmp_path, story)


def test_32_what_was_removed_is_made_again_and_versions_count_on(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        made = await socket.put("k", sets(n=1))
        removed = await socket.put("k", None)
        again = await socket.put("k", sets(n=2))
        assert [entry["ev"] for entry in (made, removed, again)] == [1, 2, 3]
        assert "sv" not in again
        assert await socket.ask("0:e:k.3") == '0:e:k.3\n{"data":{"n":2}}'
        assert await socket.ask("0:e:k.2") == "0:e:k.2\n?"

    told(tmp_path, story)


def test_33_every_operation_is_taken_and_the_safe_ones_are_given(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("k", sets(n=1, l=[1, 2], m={"a": "x", "b": 1}, t="abc"))
        answer = await socket.put(
            "k",
            {
                "n": {"o": "I", "v": 2},
                "l": {"o": "L", "v": {"0": {"o": "-"}}},
                "m": {"o": "O", "v": {"a": {"o": "d", "v": "=1\t+y"}, "b": {"o": "-"}}},
                "t": {"o": "r", "v": "z"},
            },
            1,
        )
        ops = {name: operation["o"] for name, operation in answer["v"].items()}
        assert ops == {"n": "r", "l": "r", "m": "O", "t": "d"}
        assert await socket.ask("0:e:k.2") == '0:e:k.2\n{"data":{"n":3,"l":[2],"m":{"a":"xy"},"t":"z"}}'

    told(tmp_path, story)


def test_34_lengths_are_utf16_units_and_pairs_stay_whole(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("k", sets(t="👿"))
        assert (await socket.put("k", {"t": {"o": "d", "v": "=2\t+#"}}, 1))["ev"] == 2
        assert (await socket.put("k", {"t": {"o": "d", "v": "=2\t+x\t=1"}}, 2))["ev"] == 3
        assert (await socket.put("k", {"t": {"o": "d", "v": "=1\t+x"}}, 3))["error"] == 440

    told(tmp_path, story)


def test_lone_surrogates_from_old_clients_are_kept_as_they_are(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.send('0:c:{"id":"k","o":"M","ccid":"c1","v":{"t":{"o":"+","v":"a\\ud83d"}}}')
        assert (await socket.one())["v"] == sets(t="a\ud83d")
        assert await socket.ask("0:e:k.1") == '0:e:k.1\n{"data":{"t":"a\\ud83d"}}'
        assert (await socket.index())["index"][0]["d"] == {"t": "a\ud83d"}

    told(tmp_path, story)


def test_35_versions_named_as_sv_can_be_fetched_and_old_ones_go(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        await socket.put("k", sets(n=1))
        for version in range(1, 40):
            answer = await socket.put("k", {"n": {"o": "r", "v": version + 1}}, version)
            assert not (await socket.ask(f"0:e:k.{answer['sv']}")).endswith("?")

    told(tmp_path, story, version_max=3, version10_max=1)


def test_empty_removes_every_object_of_the_bucket(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        socket = await server.live()
        for key in "abc":
            await socket.put(key, sets(n=1))
        await socket.put("b", None)
        await socket.send('0:c:{"id":"notes","o":"EMPTY","ccid":"e1"}')
        await socket.change("d", sets(n=1))
        heard: list[dict[str, Any]] = []
        while len(heard) < 3:
            heard += await socket.changes()
        assert [(change["id"], change["o"]) for change in heard] == [("a", "-"), ("c", "-"), ("d", "M")]
        await socket.send('0:c:{"id":"notes","o":"EMPTY","ccid":"e1"}')
        assert (await socket.one())["error"] == 409

    told(tmp_path, story)


@pytest.mark.slow
def test_a_slow_reader_holds_nobody_up_and_misses_nothing(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author = await server.live()
        # Its library reads on only as far as its own buffer goes; nothing is taken out of that.
        slow = await server.live("slow")
        text = "x" * 50_000
        for number in range(1200):
            await author.change(f"k{number}", sets(t=text))
        acknowledged = 0
        while acknowledged < 1200:
            acknowledged += len(await author.changes())
        keys: list[str] = []
        while len(keys) < 1200:
            keys += [change["id"] for change in await slow.changes()]
        assert keys == [f"k{number}" for number in range(1200)]
        await slow.nothing_more()

    told(tmp_path, story)


def test_many_changes_come_in_few_messages_none_of_them_over_one_frame(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        author = await server.live()
        for number in range(500):
            await author.change(f"k{number}", sets(t="x" * 6000))
        count = 0
        while count < 500:
            count += len(await author.changes())
        late = await server.socket()
        await late.init()
        await late.send("0:cv:0")
        sizes = []
        count = 0
        while count < 500:
            text = await late.receive()
            sizes.append(len(text))
            count += text.count('"ccids"')
        assert len(sizes) < 10
        assert max(sizes) < 1024 * 1024

    told(tmp_path, story)


def test_clients_that_write_at_once_all_hear_the_same_log(tmp_path: Path) -> None:
    async def story(server: Running) -> None:
        sockets = [await server.live(client) for client in "abcd"]

        async def writes(index: int) -> None:
            for number in range(50):
                await sockets[index].change(f"k{number % 7}", sets(**{f"m{index}": number}))

        async def hears(index: int) -> list[tuple[str, int]]:
            heard: list[tuple[str, int]] = []
            mine = 0
            while len(heard) < 200:
                for change in await sockets[index].changes():
                    heard.append((change["id"], change["ev"]))
                    mine += change["clientid"] == "abcd"[index]
            assert mine == 50
            return heard

        *logs, _, _, _, _ = await asyncio.gather(*map(hears, range(4)), *map(writes, range(4)))
        assert all(log == logs[0] for log in logs)
        for key in {key for key, _ in logs[0]}:
            versions = [version for other, version in logs[0] if other == key]
            assert versions == list(range(1, len(versions) + 1))

    told(tmp_path, story)
