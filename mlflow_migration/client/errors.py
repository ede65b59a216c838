"""The package's errors, named by what the caller should do, and the words for them.

MlflowExportImportException     whatever users of today's tools catch
 ├── BadInput                   stop: the command can't start; exit status 2
 │    └── Incapable             the server can't hold what the command is about
 ├── BadDirectory               skip this object: its files can't be read or trusted
 ├── Refused                    skip this object: the server said no, asking again will not help
 │    ├── NotFound
 │    └── Unauthorized
 ├── Unavailable                the server did not answer, however often it was asked
 │    └── Gone                  stop: it answers nothing else either
 └── Stopped                    stop: the work ends before its end; no object is to blame
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Optional, Union

# a password may hold anything, as some parsers take it unescaped: rather too much is cut
# schemes are short: without a bound a long word would take quadratic time
_USER_INFO = re.compile(r"(?P<scheme>[a-zA-Z][\w+.\-]{0,30}://)(?:[^/@\s:]*:(?!\d+(?:[/\s,;]|$))\S*@|[^/\s]*@)")
_WORD = re.compile(r"\S+")
_SECRETS = re.compile(
    r"(?i)(?P<name>authorization|bearer|basic|token|password|passwd|secret|x-amz-signature|sig|signature)"
    r"(?P<between>[\"']?\s*[=:]\s*[\"']?(?:bearer |basic )?|\s+(?=[\w\-.~+/]{16,}))"
    r"(?P<value>(?!(?:True|False|None)(?:[\s\"',;&}]|$))[^\s\"',;&}]+)"
)


class MlflowExportImportException(Exception):  # noqa: N818 -- the name that users of today's tools catch
    """Base of all errors raised here, with the attributes that users of today's tools read.

    :param ex: A sentence, or the exception that this one wraps.
    :param message: A sentence that replaces the one of the wrapped exception.
    :param http_status_code: HTTP status; taken from a wrapped MlflowException if that has one.
    :param kwargs: Further facts; they appear in ``str()``, which is JSON.
    """

    def __init__(
        self, ex: Union[str, BaseException], message: Optional[str] = None, http_status_code: int = -1, **kwargs: Any
    ) -> None:
        self.src_exception: Optional[BaseException] = ex if isinstance(ex, BaseException) else None
        self.src_message = str(ex)
        self.message = message or self.src_message
        status_of = getattr(ex, "get_http_status_code", None)
        self.http_status_code: int = int(status_of()) if callable(status_of) else http_status_code
        self.kwargs: Dict[str, Any] = {"message": self.message, "http_status_code": self.http_status_code}
        if message and self.src_message != message:
            self.kwargs["src_message"] = self.src_message
        error_code = getattr(ex, "error_code", None)
        if error_code:
            self.kwargs["mlflow_error_code"] = error_code
        self.kwargs.update(kwargs)
        super().__init__(self.message)

    def __str__(self) -> str:
        return json.dumps(self.kwargs, default=str)


class BadInput(MlflowExportImportException):
    """What the user gave makes the command impossible: nothing was done, exit status 2."""


class Incapable(BadInput):
    """A server can't hold what the command is about.

    :param version: Its MLflow version.
    """

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version


class BadDirectory(MlflowExportImportException):
    """A file of an export directory can't be read or must not be trusted."""


class Refused(MlflowExportImportException):
    """The server answered 4xx: the same request would be refused again.

    :param error_code: MLflow's name of the error, such as ``INVALID_PARAMETER_VALUE``; empty if it gave none.
    """

    def __init__(self, ex: Union[str, BaseException], *, http_status_code: int, error_code: str = "", **kwargs: Any):
        super().__init__(ex, http_status_code=http_status_code, **kwargs)
        self.error_code = error_code


class NotFound(Refused):
    """The object does not exist, or the server has no such route (then ``error_code`` is empty)."""


class Unauthorized(Refused):
    """The credentials are missing, wrong, or not enough (401, 403)."""


class Unavailable(MlflowExportImportException):
    """Retries are used up: the server answers 5xx or 429, or the connection breaks."""


class Gone(Unavailable):
    """Retries are used up, and the server answers nothing at all: what is asked next would only wait as long."""


class Stopped(MlflowExportImportException):
    """The work ends before its end: the user, an option, a server that is gone or a full disk wants it.

    The message says which. It passes through the executor, which takes other errors for those of one object.
    """


def redact(text: str) -> str:
    """Return the text without user information in URIs and without values of tokens and passwords."""
    if "@" in text:
        text = _WORD.sub(lambda m: _without_user_info(m[0]), text)
    return _SECRETS.sub(lambda m: f"{m['name']}{m['between']}***", text)


def _without_user_info(word: str) -> str:
    end = word.rfind("@") + 1  # what follows is looked at in vain, again and again
    return _USER_INFO.sub(lambda m: m["scheme"], word[:end]) + word[end:]


def describe(ex: BaseException) -> str:
    """Return one sentence that tells a user what went wrong, without secrets.

    This is the only place that turns an exception into words.

    :param ex: Any exception.
    :return: The sentence.
    """
    if isinstance(ex, MlflowExportImportException):
        text = ex.message
    elif isinstance(ex, OSError) and ex.strerror:
        name = ex.filename2 or ex.filename  # of a renaming, the name that the file was to get
        text = f"{ex.strerror}: {name}" if name else ex.strerror
    else:
        text = f"{type(ex).__name__}: {ex}"
    return redact(" ".join(text.split()))
