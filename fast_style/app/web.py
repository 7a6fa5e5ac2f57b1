"""The addresses of the page and of what it asks for."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fast_style.app.limits import Limits
from fast_style.app.painter import Options, Painter
from fast_style.app.photos import PhotoShelf
from fast_style.app.refusal import BUSY, NOT_NOW, TOO_MANY, UNKNOWN, WRONG, Refusal
from fast_style.app.styles import StyleShelf
from fast_style.app.trainings import Trainings
from fast_style.app.work import Task
from fast_style.bundled import PAGE
from fast_style.extras import TRAINING, installed, missing_extra

UPLOAD_TOO_SLOW, CLIENT_GONE = 408, 499
LOOK_S = 0.25  # between two looks whether a client is still there
MOST_IDS = 100  # of trainings in a question
SWEEP_S = 60.0  # between two looks for what is to be deleted


@dataclass
class State:
    """What the server holds while it runs."""

    limits: Limits
    photos: PhotoShelf
    styles: StyleShelf
    painter: Painter
    trainings: Trainings | None
    decoding: CapacityLimiter
    receiving: Counter[str] = field(default_factory=Counter)  # uploads by visitor


def make_app(
    styles: Path,
    roots: Sequence[Path] | None,
    settings: Sequence[str],
    device: str,
    limits: Limits,
) -> FastAPI:
    """Make the app behind the page. It keeps pictures in a folder that goes when it ends.

    Args:
        styles: folder of further styles, to which trained ones are added.
        roots: folders of photos that trainings may use; None for all.
        settings: of all trainings, as for ``fast-style train``.
        device: where to paint and train, as for `Stylizer`.
        limits: what visitors may ask for.
    """
    app = FastAPI(
        lifespan=partial(_lifespan, styles, roots, settings, device, limits),
        openapi_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _wrong_options)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _our_mistake)
    _add_page(app)
    _add_photos(app)
    _add_paintings(app)
    _add_trainings(app)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


@asynccontextmanager
async def _lifespan(
    styles: Path,
    roots: Sequence[Path] | None,
    settings: Sequence[str],
    device: str,
    limits: Limits,
    app: FastAPI,
) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory(prefix="fast-style-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "photos").mkdir(mode=0o700)
        photos, shelf = PhotoShelf(Path(folder) / "photos", limits), StyleShelf(styles)
        painter = Painter(photos, shelf, device, limits)
        trainings = None
        if installed(*TRAINING):
            given = Path(folder) / "trainings"
            trainings = Trainings(given, styles, roots, settings, device, limits)
        decoding = CapacityLimiter(limits.decoded_at_once)
        app.state.held = State(limits, photos, shelf, painter, trainings, decoding)
        sweeping = asyncio.create_task(_sweep(app.state.held, min(SWEEP_S, limits.keep_s / 4)))
        try:
            yield
        finally:
            sweeping.cancel()
            await run_sync(painter.queue.stop, 1.0)
            if trainings is not None:
                await run_sync(trainings.stop)


async def _sweep(held: State, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await run_sync(held.painter.forget_old)
        if held.trainings is not None:
            await run_sync(held.trainings.forget_old)


def _held(request: Request) -> State:
    held: State = request.app.state.held
    return held


def _visitor(request: Request) -> str:
    return request.client.host if request.client else ""


# --- the page ---


def _add_page(app: FastAPI) -> None:
    @app.get("/painter.js")
    async def painter() -> FileResponse:
        return FileResponse(PAGE / "painter-server.js")

    @app.get("/api/hello")
    def hello(request: Request) -> dict[str, Any]:
        held = _held(request)
        limits = held.limits
        return {
            "styles": [{"id": name, "name": name} for name in held.styles.files()],
            "limits": {
                "bytes": limits.upload_bytes,
                "pixels": limits.pixels,
                "photos": limits.photos,
            },
            "training": held.trainings is not None,
        }


# --- photos ---


def _add_photos(app: FastAPI) -> None:
    @app.post("/api/photos", status_code=201)
    async def give(request: Request) -> dict[str, Any]:
        held, visitor = _held(request), _visitor(request)
        held.photos.check_room(visitor)
        async with _received(request) as form:
            file = uploaded(form)
            photo = await run_sync(
                held.photos.add, file.file, file.filename, visitor, limiter=held.decoding
            )
        return {
            "id": photo.id,
            "name": photo.name,
            "width": photo.width,
            "height": photo.height,
        }

    @app.get("/api/photos/{id}/thumbnails/{style}")
    async def thumbnail(request: Request, id: str, style: str) -> Response:
        held = _held(request)
        task = held.painter.thumbnail(held.photos.get(id), style)
        return Response(await _result(request, task, shared=True), media_type="image/jpeg")

    @app.get("/api/photos/{id}/preview")
    async def preview(request: Request, id: str, options: Annotated[Options, Query()]) -> Response:
        held = _held(request)
        task = held.painter.preview(held.photos.get(id), options)
        return Response(await _result(request, task), media_type="image/jpeg")

    @app.post("/api/photos/{id}/forget", status_code=204)
    async def forget(request: Request, id: str) -> None:
        held = _held(request)
        await run_sync(held.painter.forget, held.photos.get(id))


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[FormData]:
    """Receive a form. Its file is in memory or in an unnamed file; afterwards it is gone."""
    held, visitor = _held(request), _visitor(request)
    if held.receiving[visitor] >= held.limits.photos:
        raise Refusal(TOO_MANY, "you send as many files as you may: wait for them first")
    held.receiving[visitor] += 1
    try:
        async with asyncio.timeout(held.limits.upload_s):
            form = await request.form(max_files=1, max_fields=8)
    except TimeoutError:
        raise Refusal(
            UPLOAD_TOO_SLOW,
            f"the upload took more than {held.limits.upload_s:g} s: shrink the picture first",
        ) from None
    finally:
        held.receiving[visitor] -= 1
        held.receiving += Counter()  # leaves visitors out who send nothing
    try:
        yield form
    finally:
        await form.close()


def uploaded(form: FormData) -> UploadFile:
    """Return the file of a form.

    Raises:
        Refusal: if it has none.
    """
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refusal(WRONG, "no picture was sent: choose one")
    return file


async def _result(request: Request, task: Task, shared: bool = False) -> bytes:
    """Wait for a small picture as long as its visitor does.

    Args:
        request: what asks for it.
        task: paints it.
        shared: whether other requests may wait for it, too, so that it is not dropped with this.
    """
    seconds = _held(request).limits.wait_s
    waiting = asyncio.wrap_future(task.future)
    ends = asyncio.get_running_loop().time() + seconds
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=LOOK_S)
        if waiting.done():
            break
        if await request.is_disconnected():
            if not shared:
                task.future.cancel()
            raise Refusal(CLIENT_GONE, "nobody waits for this any more")
        if asyncio.get_running_loop().time() > ends:
            if not shared:
                task.future.cancel()
            raise Refusal(BUSY, "the server has too much to paint now: try again in a minute")
    if waiting.cancelled():
        raise Refusal(NOT_NOW, "something else was asked for meanwhile")
    result: bytes = waiting.result()
    return result


# --- paintings at full size ---


def _add_paintings(app: FastAPI) -> None:
    @app.post("/api/photos/{id}/paintings", status_code=202)
    def begin(request: Request, id: str, options: Options) -> dict[str, str]:
        held = _held(request)
        return {"id": held.painter.begin(held.photos.get(id), options).id}

    @app.get("/api/paintings/{id}")
    def state(request: Request, id: str) -> dict[str, Any]:
        painter = _held(request).painter
        return painter.state(painter.painting(id))

    @app.get("/api/paintings/{id}/file")
    def file(request: Request, id: str) -> FileResponse:
        painter = _held(request).painter
        painting = painter.painting(id)
        return FileResponse(painter.file(painting), filename=painting.file_name)


# --- trainings ---


def _trainings(request: Request) -> Trainings:
    trainings = _held(request).trainings
    if trainings is None:
        raise Refusal(UNKNOWN, str(missing_extra("train", "trainings")))
    return trainings


def _add_trainings(app: FastAPI) -> None:
    @app.post("/api/trainings", status_code=202)
    async def start(request: Request) -> dict[str, str]:
        trainings, visitor = _trainings(request), _visitor(request)
        trainings.check_room(visitor)
        async with _received(request) as form:
            file = uploaded(form)
            texts = {key: str(form.get(key) or "") for key in ("photos", "steps", "name")}
            started = partial(trainings.start, file.file, file.filename, visitor, **texts)
            training = await run_sync(started, limiter=_held(request).decoding)
        return {"id": training.id}

    @app.get("/api/trainings")
    def report(request: Request, mine: str = "") -> dict[str, Any]:
        return _trainings(request).report(mine.split(",")[:MOST_IDS])

    @app.get("/api/trainings/{id}/picture")
    def picture(request: Request, id: str) -> FileResponse:
        trainings = _trainings(request)
        return FileResponse(trainings.picture(trainings.get(id)), media_type="image/jpeg")

    @app.post("/api/trainings/{id}/cancel", status_code=202)
    def cancel(request: Request, id: str) -> dict[str, str]:
        trainings = _trainings(request)
        trainings.cancel(trainings.get(id))
        return {"id": id}


# --- mistakes ---


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return JSONResponse({"error": str(error)}, error.status)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail)}, error.status_code)


async def _wrong_options(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:2]) or "the request"
    return JSONResponse({"error": f"{name} is wrong: {first['msg']}"}, WRONG)


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # nobody reads it


async def _our_mistake(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "the server made a mistake: try again"}, 500)
