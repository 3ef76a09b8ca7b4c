"""A pool of Python workers at one address of this machine, such as 127.0.0.2; Beam's own listens at all of them.

    python -m tests.support.pool ADDRESS:PORT

A runner counts its workers from 1 in each of its processes, and a pool tells them apart by that number alone, so two
processes that shared a pool would end each other's workers.
"""

from __future__ import annotations

import signal
import sys

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer, kill_process_gracefully
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance


def main() -> None:
    """Serves until Ctrl-C or SIGTERM, then ends its workers."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server = grpc.server(shared_unbounded_instance())
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, data_buffer_time_limit_ms=-1)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(sys.argv[1])
    server.start()
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        for worker in pool._worker_processes.values():
            kill_process_gracefully(worker)


if __name__ == "__main__":
    main()
