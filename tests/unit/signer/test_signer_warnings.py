"""The key service's warnings: kept in a bounded number, those that still hold the longest."""

from dnssecd.signer.warnings import KEPT_MAX, WarningBook


def test_many_events_drive_out_no_warning_that_still_holds() -> None:
    """A client can cause as many events as it likes, to hide what other people wait for."""
    book = WarningBook(lambda: 0.0, lambda code, subject, detail: None)
    book.add("consent needed", "keys", "an export waits")
    for number in range(2 * KEPT_MAX):
        book.add("sign refused", str(number), "by a client", firing=False)
    listed = [one.code for one in book.listed()]
    assert len(listed) == KEPT_MAX
    assert "consent needed" in listed
    assert book.listed()[-1].subject == str(2 * KEPT_MAX - 1)


def test_the_number_is_bounded_also_when_all_hold() -> None:
    book = WarningBook(lambda: 0.0, lambda code, subject, detail: None)
    for number in range(KEPT_MAX + 5):
        book.add("key not destroyed", str(number), "x")
    assert book.listed()[0].subject == "5"
