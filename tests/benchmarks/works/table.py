"""All works, by the tree they are done on."""

from tests.benchmarks.trees import MEGABYTE, random_file, real_files, small_files, text_file
from tests.benchmarks.works import again, edits, first, large, structure
from tests.benchmarks.works.base import Scene, Work
from tests.benchmarks.works.large import NAME

GIGABYTE = 1024 * MEGABYTE

# Works that delete thousands of files come last: some disks make files slowly for minutes after that.
SCENES = (
    Scene(
        lambda folder, size: random_file(folder / NAME, size.of(GIGABYTE)),
        (first.work("random", "1 GiB of random bytes"), large.overwrite, large.insert),
    ),
    Scene(
        lambda folder, size: text_file(folder / NAME, size.of(GIGABYTE)),
        (first.work("text", "1 GiB of text"),),
    ),
    Scene(lambda folder, _size: real_files(folder), (first.work("real", "a real tree, first sync"),)),
    Scene(
        lambda folder, size: small_files(folder, size.of(10_000), 4096),
        (first.work("link", "10,000 files of 4 KiB over 50 ms and 100 Mbit/s"),),
        linked=True,
    ),
    Scene(
        lambda folder, size: small_files(folder, size.of(100_000), 1024),
        (
            first.work("many", "100,000 files of 1 KiB, first sync"),
            again.idle,
            again.restart("restart-many", "restart with 100,000 files, nothing changed"),
        ),
    ),
    Scene(
        lambda folder, size: small_files(folder, size.of(10_000), 4096),
        (
            first.work("small", "10,000 files of 4 KiB, first sync"),
            again.database,
            edits.edit,
            edits.stream,
            again.restart("restart", "restart with 10,000 files, nothing changed"),
            again.join,
            again.equal,
            structure.rename,
            structure.delete,
        ),
    ),
)

WORKS: dict[str, Work] = {work.name: work for scene in SCENES for work in scene.works}
