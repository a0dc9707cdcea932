"""Two frames of a video, by the rule of SEED-Bench: with N frames in the segment and seg = (N - 1) / 2, frame i is
int(seg / 2) + round(seg · i), counted from the segment's first.

A segment ends before its last frame: that of a whole video before the video's last, one in seconds before the frame at
its end, one in frames before the frame that it names. Seconds become frames by the video's mean rate.
The eight frames per question that SEED-Bench publishes do not help: they are at odd sixteenths of the segment, these
two at a quarter and three quarters.
Source: extraction script of https://github.com/AILab-CVC/SEED-Bench (DATASET.md names the units)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from cadvi_hub.core.errors import InputError
from cadvi_hub.core.images import ImageFolders, encode_png, image_file
from cadvi_hub.core.schema import EmbeddedImage
from cadvi_hub.eval.benchmarks.pictures import BROKEN, NOT_FOUND, PictureError

_NAME = re.compile(
    r"(?P<video>.+?)(?:#(?P<unit>seconds|frames)=(?P<start>[0-9.]+),(?P<end>[0-9.]+))?#frame(?P<i>[01])"
)


def frame_names(video: str, segment: Sequence[float] | None, unit: str) -> tuple[str, str]:
    """Names of both frames of `video`; `segment` is its start and end in `unit` ("seconds", "frames")."""
    of = f"#{unit}={segment[0]},{segment[1]}" if segment else ""
    return f"{video}{of}#frame0", f"{video}{of}#frame1"


def two_frames(start: int, end: int) -> tuple[int, int]:
    """The frames to show of `start` … `end` - 1.

    Raises:
        ValueError: the segment has fewer than two frames.
    """
    if end - start < 2:
        raise ValueError(f"{end - start} frame(s) in the segment, fewer than 2")
    step = (end - start - 1) / 2
    first = start + int(step / 2)
    return first, first + round(step)


class VideoFrames:
    """Frames of the videos below some folders, sub-folders included, named by `frame_names`, as PNG.

    Raises:
        InputError: PyAV, which decodes them, is not installed, or a folder is not there.
    """

    def __init__(self, roots: Sequence[Path]):
        try:
            import av  # noqa: F401
        except ImportError as error:
            raise InputError("seed_video", "videos are decoded by PyAV, which is missing", "pip install av") from error
        if not roots or not all(root.is_dir() for root in roots):
            raise InputError("images", "no folder with the videos", "Name folders that are there")
        self._roots, self._store = list(roots), ImageFolders(roots, search=True)
        self._frames = lru_cache(2)(self._decode)

    def embed(self, image: EmbeddedImage) -> EmbeddedImage:
        """The frame as PNG.

        Raises:
            PictureError: the video is missing, does not decode, or its segment has fewer than two frames.
        """
        found = _NAME.fullmatch(image["path"] or "")
        if found is None:
            raise AssertionError(f"no name of a frame: {image['path']!r}")
        segment = (float(found["start"]), float(found["end"])) if found["unit"] else None
        frames = self._frames(found["video"], found["unit"] or "", segment)
        return {"bytes": frames[int(found["i"])], "path": image["path"]}

    def _decode(self, name: str, unit: str, segment: tuple[float, float] | None) -> list[bytes]:
        try:
            file = self._file(name)
        except InputError as error:
            raise PictureError(NOT_FOUND, error) from error
        try:
            return _read_frames(file, unit, segment)
        except (ValueError, ArithmeticError, LookupError, OSError) as error:  # FFmpeg's errors are of these kinds
            broken = InputError(name, f"no two frames of its segment decode ({error})", "Replace the video")
            raise PictureError(BROKEN, broken) from error

    def _file(self, name: str) -> Path:
        found = self._store.find(name)
        for root in self._roots[:-1]:
            try:
                return image_file(root, found)
            except InputError:
                continue
        return image_file(self._roots[-1], found)


def _read_frames(file: Path, unit: str, segment: tuple[float, float] | None) -> list[bytes]:
    """Both frames of the segment, as PNG; at most one frame is in memory."""
    import av

    with av.open(str(file)) as video:
        stream = video.streams.video[0]
        length = stream.frames or sum(1 for packet in video.demux(stream) if packet.size)  # WebM does not say it
        rate = stream.average_rate
    if unit == "seconds":
        if not rate:
            raise ValueError("it has no frame rate")
        start, end = (int(min(max(second * float(rate), 0), length - 1)) for second in segment or ())
    else:
        start, end = (int(frame) for frame in segment or (0, length - 1))
        end = min(end, length)
    wanted = two_frames(start, end)
    pictures: dict[int, bytes] = {}
    with av.open(str(file)) as video:
        stream = video.streams.video[0]
        number, base = 0, stream.time_base
        begin = stream.start_time or 0
        if unit == "seconds" and rate and base:  # hours of video precede some segments
            video.seek(begin + int(wanted[0] / rate / base), stream=stream)
        for frame in video.decode(stream):
            if unit == "seconds" and rate and base and frame.pts is not None:
                number = round((frame.pts - begin) * base * rate)
            if number in wanted and number not in pictures:
                pictures[number] = encode_png(frame.to_image())  # type: ignore[no-untyped-call]  # PyAV has no type for it
            if number >= wanted[1]:
                break
            number += 1
    return [pictures[number] for number in wanted]
