"""A window on the desktop, by tkinter of Python's own library."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageOps

from fast_style.errors import UserError


class TkWindow:
    """A `Window` that scales pictures to its size. Closing it is like the key q.

    Raises:
        UserError: if tkinter is missing, or there is no display.
    """

    def __init__(self) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise UserError(
                "a window needs tkinter, which this Python lacks: install it, on Debian and Ubuntu "
                "with  sudo apt install python3-tk"
            ) from error
        try:
            self.root = tkinter.Tk(className="fast-style")
        except tkinter.TclError as error:
            raise UserError(
                "there is no display for a window: run this on a desktop, or over ssh with -X"
            ) from error
        self.root.withdraw()  # until there is a picture
        self._canvas = tkinter.Canvas(self.root, background="black", highlightthickness=0)
        self._text = tkinter.Label(self.root, justify="left", anchor="w", padx=8, pady=4)
        self._picture: Any = None  # tkinter does not keep it
        self._keys: list[str] = []
        self.root.bind("<Key>", self._press)
        self.root.protocol("WM_DELETE_WINDOW", lambda: self._keys.append("q"))

    def _press(self, event: Any) -> None:
        is_character = event.char and event.char.isprintable()
        self._keys.append(event.char if is_character else event.keysym)

    def show(self, picture: Image.Image | None, title: str, text: str) -> None:
        """Show a picture, or leave the one that is shown; and lines of text below it."""
        from PIL import ImageTk

        if picture is not None:
            if self._picture is None:
                self._canvas.configure(width=picture.width, height=picture.height)
                self._canvas.pack(fill="both", expand=True)
                self.root.deiconify()
                self.root.update()
            room = (max(1, self._canvas.winfo_width()), max(1, self._canvas.winfo_height()))
            if picture.size != room:
                picture = ImageOps.contain(picture, room, Image.Resampling.BILINEAR)
            self._picture = ImageTk.PhotoImage(picture, master=self.root)
            self._canvas.delete("all")
            self._canvas.create_image(room[0] // 2, room[1] // 2, image=self._picture)
        self.root.title(title)
        self._text.configure(text=text)
        if text:
            self._text.pack(side="bottom", fill="x", before=self._canvas)
        else:
            self._text.pack_forget()
        self.root.update()

    def pressed(self) -> list[str]:
        """Return the keys since the last call."""
        self.root.update()
        keys, self._keys = self._keys, []
        return keys

    def close(self) -> None:
        """Remove the window."""
        self.root.destroy()
