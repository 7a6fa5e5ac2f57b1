"""Load ``fast-style app`` with many clients, and check that each gets its own pictures.

Each client has an address of its own (127.0.1.x, on Linux), gives photos of colours that no other
client has, asks for thumbnails and previews, moves the strength, gives up some requests, and
paints at full size. At strength 0 a picture is the photo itself, so its mean colour tells whose it
is. Some requests are wrong: text, half a file, too large a claim, another site, a wrong style.
"""

from __future__ import annotations

import asyncio
import io
import math
import random
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import click
import httpx
import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

PATIENCE_S = 150.0
SIZES = ((640, 480), (1200, 900), (480, 640), (2000, 1500))  # px
NEAR = 3  # levels by which JPEG may move the mean colour of a photo


class Busy(Exception):
    """The server said that it has too much to do."""


@dataclass
class Tally:
    """What happened, by kind of request.

    Attributes:
        seconds: how long good requests took.
        refused: number of wrong requests that were refused as they should be.
        busy: number of good requests that were told to come again later.
        lost: sentences about what went wrong.
    """

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: int = 0
    busy: int = 0
    lost: list[str] = field(default_factory=list)


@dataclass
class Usage:
    """What the server's process takes.

    Attributes:
        megabytes: resident memory.
        handles: open files and sockets.
        threads: number of threads.
    """

    megabytes: float
    handles: int
    threads: int

    @classmethod
    def of(cls, process: psutil.Process) -> Usage:
        memory = process.memory_info().rss / 1e6
        return cls(memory, process.num_fds(), process.num_threads())


class Client:
    """One visitor.

    Args:
        number: sets address and colour.
        address: where the server listens.
        tally: filled.
    """

    def __init__(self, number: int, address: str, tally: Tally) -> None:
        self.number = number
        self.tally = tally
        self.random = random.Random(number)
        self.colours = np.random.default_rng(number)
        self.middle = self.colours.integers(60, 196, 3)  # of this client's photos
        self.mean: NDArray[Any] = self.middle
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.1.{number + 1}")
        self.http = httpx.AsyncClient(base_url=address, transport=transport, timeout=PATIENCE_S)

    async def work(self, ends: float) -> None:
        """Do what visitors do until a time on the monotonic clock."""
        async with self.http:
            while time.monotonic() < ends:
                try:
                    await self._visit(ends)
                except Busy:
                    self.tally.busy += 1
                except (httpx.HTTPError, AssertionError, KeyError, OSError) as error:
                    self.tally.lost.append(f"client {self.number}: {type(error).__name__} {error}")

    async def _visit(self, ends: float) -> None:
        photo = await self._give()
        try:
            await self._use(photo, ends)
        finally:
            answer = await self._timed("forget", self.http.post(f"{photo}/forget"))
            assert answer.status_code == 204, answer.text

    async def _use(self, photo: str, ends: float) -> None:
        styles = (await self._timed("hello", self.http.get("api/hello"))).json()["styles"]
        names = [style["id"] for style in styles]
        thumbnails = [self._small("thumbnail", f"{photo}/thumbnails/{name}") for name in names]
        for outcome in await asyncio.gather(*thumbnails, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        for _ in range(4):
            if time.monotonic() > ends:
                return
            await self._move(photo, self.random.choice(names))
            if self.random.random() < 0.5:
                await self._do_wrong(photo)
        if self.random.random() < 0.3:
            await self._paint(photo, self.random.choice(names))

    async def _give(self) -> str:
        file = io.BytesIO()
        size = self.random.choice(SIZES)
        coarse = self.middle + self.colours.integers(-60, 61, (6, 8, 3))
        photo = Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
        self.mean = np.asarray(photo).mean((0, 1))
        photo.save(file, "JPEG")
        name = f"client-{self.number}.jpg"
        sent = self.http.post("api/photos", files={"file": (name, file.getvalue())})
        answer = await self._timed("upload", sent)
        assert answer.status_code == 201, answer.text
        said = answer.json()
        assert (said["name"], said["width"], said["height"]) == (name, *size), said
        return f"api/photos/{said['id']}"

    async def _small(self, kind: str, path: str, **options: str | float) -> bytes:
        answer = await self._timed(kind, self.http.get(path, params=options))
        assert answer.status_code == 200, f"{kind}: {answer.status_code} {answer.text[:200]}"
        return answer.content

    async def _move(self, photo: str, style: str) -> None:
        """Ask for previews as a slider does: one that is given up, then one that is waited for."""
        giving_up = asyncio.create_task(
            self.http.get(f"{photo}/preview", params={"style": style, "strength": 0.5})
        )
        await asyncio.sleep(0.05)
        giving_up.cancel()
        await asyncio.gather(giving_up, return_exceptions=True)
        shown = await self._small("preview", f"{photo}/preview", style=style, strength=0)
        self._check(shown, "preview")

    async def _paint(self, photo: str, style: str) -> None:
        began = time.monotonic()
        begun = await self.http.post(f"{photo}/paintings", json={"style": style, "strength": 0})
        assert begun.status_code == 202, begun.text
        painting = f"api/paintings/{begun.json()['id']}"
        while (state := (await self.http.get(painting)).json())["state"] != "done":
            assert state["state"] in ("waiting", "painting"), state
            await asyncio.sleep(0.25)
        file = await self.http.get(f"{painting}/file")
        self.tally.seconds["painting"].append(time.monotonic() - began)
        assert f"client-{self.number}-" in file.headers["content-disposition"]
        self._check(file.content, "painting")

    def _check(self, content: bytes, kind: str) -> None:
        """A picture at strength 0 has the mean colour of its photo."""
        mean = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).mean((0, 1))
        assert np.abs(mean - self.mean).max() < NEAR, f"{kind}: mixed up, {mean} {self.mean}"

    async def _do_wrong(self, photo: str) -> None:
        half = io.BytesIO()
        Image.effect_noise((300, 200), 80).save(half, "JPEG")
        send, get = self.http.post, self.http.get
        wrong: list[tuple[int, Callable[[], Awaitable[httpx.Response]]]] = [
            (400, lambda: send("api/photos", files={"file": ("a.jpg", b"text " * 1000)})),
            (400, lambda: send("api/photos", files={"file": ("a.jpg", half.getvalue()[:2000])})),
            (400, lambda: send("api/photos", files={"file": ("a.jpg", b"")})),
            (404, lambda: get(f"{photo}/thumbnails/nobody")),
            (400, lambda: get(f"{photo}/preview", params={"style": "wave", "strength": 7})),
            (403, lambda: get("api/hello", headers={"origin": "http://evil.example"})),
            (403, lambda: get("api/hello", headers={"host": "evil.example"})),
            (404, lambda: get("api/photos/AAAAAAAAAAAAAAAAAAAAAA/thumbnails/wave")),
        ]
        if self.random.random() < 1 / 9:
            await self._claim_too_much()
            return
        status, request = self.random.choice(wrong)
        answer = await self._timed("wrong request", request())
        assert answer.status_code == status, f"{answer.status_code} in place of {status}"
        assert answer.json()["error"]
        self.tally.refused += 1

    async def _claim_too_much(self) -> None:
        """Announce a terabyte; httpx would not send a length that is not true."""
        url = self.http.base_url
        reader, writer = await asyncio.open_connection(
            url.host, url.port, local_addr=(f"127.0.1.{self.number + 1}", 0)
        )
        writer.write(
            f"POST /api/photos HTTP/1.1\r\nhost: {url.host}:{url.port}\r\n"
            "content-type: multipart/form-data; boundary=x\r\n"
            f"content-length: {10**12}\r\n\r\n".encode()
        )
        answer = await reader.readline()
        writer.close()
        assert b" 413 " in answer, answer
        self.tally.refused += 1

    async def _timed(self, kind: str, request: Awaitable[httpx.Response]) -> httpx.Response:
        began = time.monotonic()
        answer = await request
        if answer.status_code == 503:
            raise Busy
        self.tally.seconds[kind].append(time.monotonic() - began)
        return answer


async def load(address: str, clients: int, seconds: float) -> Tally:
    """Let clients work side by side."""
    tally, ends = Tally(), time.monotonic() + seconds
    await asyncio.gather(*(Client(number, address, tally).work(ends) for number in range(clients)))
    return tally


def table(tally: Tally) -> str:
    """Latencies as a Markdown table."""
    lines = ["| request | number | median | 95 % | worst |", "| --- | --- | --- | --- | --- |"]
    for kind, seconds in tally.seconds.items():
        ordered = sorted(seconds)
        late = ordered[math.ceil(0.95 * len(ordered)) - 1]
        shown = [f"{value:.2f} s" for value in (statistics.median(ordered), late, ordered[-1])]
        lines.append(f"| {kind} | {len(ordered):,} | {' | '.join(shown)} |")
    return "\n".join(lines)


@click.command()
@click.option("--clients", type=click.IntRange(1, 250), default=50, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=180.0, show_default=True)
def main(clients: int, seconds: float) -> None:
    """Start a server, load it, and print latencies, and its memory and handles around that."""
    command = [sys.executable, "-m", "fast_style.cli", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None, "the server did not start"
        process = psutil.Process(server.pid)
        # What every visitor needs once, so that only what grows is seen.
        asyncio.run(load(found[0], 1, 5))
        before = Usage.of(process)
        tally = asyncio.run(load(found[0], clients, seconds))
        time.sleep(5)
        after = Usage.of(process)
        server.terminate()
    click.echo(table(tally))
    click.echo(
        f"\n{tally.refused:,} wrong requests were refused, {tally.busy} good ones were told to "
        f"come later, {len(tally.lost)} were lost or mixed up."
    )
    for sentence in tally.lost[:20]:
        click.echo(sentence)
    click.echo(f"before: {before}\nafter:  {after}")
    sys.exit(bool(tally.lost))


if __name__ == "__main__":
    main()
