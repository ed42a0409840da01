"""Replicas behind one address: how Ray Serve starts them, picks one for a request, and ends them.

A session's requests go where its keys and values are warm: Serve's own consistent hashing, by the
header ``X-Session-Id``. That is for speed alone. The store is the truth, so any replica answers any
session rightly, and a full or dead one is passed over.
"""

# No postponed annotations here: `serve run` reads the type of build_app's argument.
import logging
import os
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig
from ray.serve.schema import LoggingConfig

from ray_vist2.options import ReplicaOptions
from ray_vist2.replica import Replica

log = logging.getLogger(__name__)

AFFINITY = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
NAME = "vist2"
RETRY_AFTER_S = 1.0
_HEALTH_PERIOD_S = 10.0
_LOOK_BACK_S = 15.0  # the least that requests are averaged over; they are counted each 10 seconds


def build_app(options: ReplicaOptions) -> serve.Application:
    """The application for ``serve.run``, or ``serve run ray_vist2:build_app store=...``.

    Each replica answers the whole API of ``vist2 serve``. ``VIST2_API_KEYS`` of the process that
    builds it is passed on, which holds hashes alone.
    """
    inline = None if options.keys else os.environ.get("VIST2_API_KEYS")
    if options.keys is None and not inline:
        log.warning(
            "no keys: whoever is on a machine with a proxy reads and writes all memory; others are "
            "refused. For anything else: vist2 key create"
        )
    # Unbound until here, so that importing this module starts nothing.
    deployment = serve.deployment(name=NAME, **_settings(options))(serve.ingress()(Replica))
    application: serve.Application = deployment.bind(options, inline)
    return application


def _settings(options: ReplicaOptions) -> dict[str, Any]:
    scale: dict[str, Any] = {"num_replicas": options.replicas}
    if options.max_replicas is not None:
        scale = {
            "autoscaling_config": AutoscalingConfig(
                min_replicas=options.replicas,
                max_replicas=options.max_replicas,
                target_ongoing_requests=options.target or options.concurrency,
                look_back_period_s=max(_LOOK_BACK_S, options.up_after),
                upscale_delay_s=options.up_after,
                downscale_delay_s=options.down_after,
            )
        }
    return {
        **scale,
        "max_surge_percent": options.surge,
        "max_ongoing_requests": options.concurrency + options.queue,
        "max_queued_requests": options.waiting,
        "backpressure_config": BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
        "request_router_config": {"request_router_class": AFFINITY},
        "graceful_shutdown_timeout_s": options.drain,
        "graceful_shutdown_wait_loop_s": 0.5,
        "health_check_period_s": _HEALTH_PERIOD_S,
        "ray_actor_options": {"num_cpus": options.cpus, "num_gpus": options.gpus},
        # Requests are logged by the application, which names no session.
        "logging_config": LoggingConfig(enable_access_log=False),
    }
