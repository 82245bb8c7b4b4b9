"""A client for pycalc, the exact-arithmetic service.

>>> from pycalc_client import Client
>>> with Client("http://127.0.0.1:8080", api_key="pck_...") as calc:
...     print(calc.fibonacci(100).result)
354224848179261915075

``AsyncClient`` has the same methods for ``await`` and ``async for``. The exceptions are drawn as a tree in
``pycalc_client.errors``.
"""

from pycalc_client._async.calculation import AsyncCalculation
from pycalc_client._async.client import AsyncClient, AsyncEvent
from pycalc_client._sync.calculation import Calculation
from pycalc_client._sync.client import Client, Event
from pycalc_client._version import __version__
from pycalc_client.calls import BatchItem
from pycalc_client.errors import (
    BadRequest,
    ComputationTimeout,
    Conflict,
    ConnectionFailed,
    DigestMismatch,
    DomainError,
    FieldError,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    NotLoaded,
    Overloaded,
    PayloadTooLarge,
    PreconditionFailed,
    ProblemError,
    PycalcError,
    QuotaExceeded,
    RangeNotSatisfiable,
    RateLimited,
    RequestTimeout,
    ResultTooLarge,
    TotpRequired,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnsupportedMediaType,
    ValidationError,
)
from pycalc_client.models import ApiKey, Quota, Total, Usage
from pycalc_client.numbers import Factor, IntegerRoot
from pycalc_client.retries import RetryPolicy

__all__ = [
    "ApiKey",
    "AsyncCalculation",
    "AsyncClient",
    "AsyncEvent",
    "BadRequest",
    "BatchItem",
    "Calculation",
    "Client",
    "ComputationTimeout",
    "Conflict",
    "ConnectionFailed",
    "DigestMismatch",
    "DomainError",
    "Event",
    "Factor",
    "FieldError",
    "Forbidden",
    "IntegerRoot",
    "InternalError",
    "MethodNotAllowed",
    "NotFound",
    "NotLoaded",
    "Overloaded",
    "PayloadTooLarge",
    "PreconditionFailed",
    "ProblemError",
    "PycalcError",
    "Quota",
    "QuotaExceeded",
    "RangeNotSatisfiable",
    "RateLimited",
    "RequestTimeout",
    "ResultTooLarge",
    "RetryPolicy",
    "Total",
    "TotpRequired",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UnsupportedMediaType",
    "Usage",
    "ValidationError",
    "__version__",
]
