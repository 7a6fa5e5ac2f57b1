"""What a visitor does on the page, and what must be true of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


def choose(page: "Page", *files: Path | str) -> None:
    """Choose files in the first chooser that is seen."""
    page.locator("#stylize label.file:visible input").first.set_input_files(list(files))


def slide(page: "Page", slider: str, *values: float) -> None:
    """Move a slider through these values without a rest."""
    page.locator(slider).evaluate(
        """(slider, values) => {
            for (const value of values) {
                slider.value = value;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }""",
        values,
    )


def hand_over(page: "Page", kind: str, file: Path) -> None:
    """Drop or paste a file."""
    page.evaluate(
        """([kind, name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(bytes)], name));
            const fields = { bubbles: true, dataTransfer: data, clipboardData: data };
            const Kind = kind === "drop" ? DragEvent : ClipboardEvent;
            const kinds = kind === "drop" ? ["dragenter", "drop"] : ["paste"];
            for (const type of kinds) document.body.dispatchEvent(new Kind(type, fields));
        }""",
        [kind, file.name, list(file.read_bytes())],
    )


def focused(page: "Page") -> dict[str, Any]:
    """The name of what has the focus, and whether an outline shows it."""
    found: dict[str, Any] = page.evaluate(
        """() => {
            const at = document.activeElement;
            const labels = [...(at.labels ?? [])];
            const name = at.ariaLabel ?? labels.map((label) => label.textContent.trim()).join(" ");
            const around = [at, ...labels, at.closest("#picture")].filter(Boolean);
            const outlined = around.map((each) => getComputedStyle(each))
                .some((style) => style.outlineStyle !== "none" && style.opacity !== "0");
            return { name: name || at.textContent.trim(), outlined };
        }"""
    )
    return found


def check_width(page: "Page", width: int = 360) -> None:
    """Nothing scrolls the page sideways, and what is touched has 40 px."""
    assert page.evaluate("document.documentElement.scrollWidth") == width
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, label:has(> input), :not(label) > input")]
            .filter((target) => target.checkVisibility() && !target.disabled)
            .map((target) => [target.outerHTML.slice(0, 80), target.getBoundingClientRect()])
            .filter(([, box]) => box.width < 40 || box.height < 40)
            .map(([html, box]) => `${html}: ${box.width} x ${box.height}`)"""
    )
    assert small == []


def check_contrast(page: "Page") -> None:
    """Text stands out from what is behind it by 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    faint = page.evaluate(
        r"""() => {
            const numbers = (color) => color.match(/[\d.]+/g).map(Number);
            const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            const light = (color) => numbers(color).slice(0, 3).map((c) => linear(c / 255))
                .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
            const behind = (element) => {
                const color = getComputedStyle(element).backgroundColor;
                const clear = numbers(color)[3] === 0 && element.parentElement;
                return clear ? behind(element.parentElement) : color;
            };
            const shown = (element) => element.checkVisibility()
                && !element.closest(".unseen, .tag, :disabled, svg")
                && [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
            return [...document.querySelectorAll("body *")].filter(shown).map((element) => {
                const both = [light(getComputedStyle(element).color), light(behind(element))];
                return [element, (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)];
            }).filter(([, ratio]) => ratio < 4.5).map(([e, ratio]) => `${e.textContent}: ${ratio}`);
        }"""
    )
    assert faint == []
