"""The queue of events: its bounds, its order, and flushes that end a pause."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from gateway.client.outbox import Outbox


def test_the_queue_is_bounded_in_bytes():
    """Ten thousand inputs of a megabyte each would be the application's memory."""
    outbox = Outbox(10_000, most_bytes=100)
    assert [outbox.put(b"x" * 40) for _ in range(3)] == [True, True, False]
    outbox.received(1)
    assert outbox.put(b"x" * 40)
    outbox.drop(1)
    assert outbox.put(b"x" * 60)
    assert (len(outbox), outbox.dropped) == (2, 2)
    assert repr(outbox) == "<Outbox waiting=2 dropped=2>"


def test_who_flushes_does_not_wait_for_a_backoff():
    """Neither for more events to come, nor for the next try of a gateway that has long been away."""
    outbox = Outbox(10)
    outbox.put(b"1")
    for waiting in (lambda: outbox.pause(600.0, 0.0), lambda: outbox.batch(10, 100, 600.0)):
        thread = threading.Thread(target=waiting, daemon=True)
        thread.start()
        assert not outbox.flush(0.2)
        thread.join(30.0)
        assert not thread.is_alive()


@given(st.lists(st.sampled_from(["put", "received", "drop"]), max_size=60), st.integers(1, 8))
def test_the_queue_keeps_order_and_count(doings, most):
    """What was put in is in it, received, or dropped; what is handed out comes in the order in which it came."""
    outbox, model, made, gone = Outbox(most), [], 0, 0
    for doing in doings:
        if doing == "put":
            made += 1
            kept = outbox.put(b"%d" % made)
            assert kept == (len(model) < most)
            if kept:
                model.append(b"%d" % made)
        elif model:
            batch = outbox.batch(3, 100, 0.0)
            assert batch == model[:3]
            if doing == "received":
                outbox.received(len(batch))
                gone += len(batch)
                del model[: len(batch)]
            else:
                outbox.drop(len(batch) - 1)
                del model[len(batch) - 1]
        assert made == len(outbox) + gone + outbox.dropped


def test_a_closed_queue_accepts_and_returns_nothing():
    """A queue that is closed drops and counts what is put in, and wakes its consumer with no events."""
    outbox = Outbox(10)
    outbox.put(b"1")
    outbox.close()
    assert not outbox.put(b"2")
    assert outbox.batch(10, 100, 0.0) == []
    assert outbox.dropped == 1


def test_a_batch_is_bounded_in_events_and_bytes():
    """A batch has at most so many events and bytes, but always one event; its events stay in the queue."""
    outbox = Outbox(10)
    for event in (b"aaaa", b"bb", b"c"):
        outbox.put(event)
    assert outbox.batch(2, 100, 0.0) == [b"aaaa", b"bb"]
    assert outbox.batch(9, 6, 0.0) == [b"aaaa", b"bb"]
    assert outbox.batch(9, 1, 0.0) == [b"aaaa"]
    assert len(outbox) == 3
