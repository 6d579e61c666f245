"""What a user agent claims to be."""

import pytest

from tracker.device import Device, device_of

APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
CHROMIUM = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROMIUM} Safari/537.36", Device("desktop", "Windows", "Chrome")),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {APPLE} Version/17.4 Safari/605.1.15", Device("desktop", "Mac OS X", "Safari")),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROMIUM} Safari/537.36", Device("desktop", "Chrome OS", "Chrome")),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {APPLE} Version/17.4 Mobile/15E148 Safari/604.1",
            Device("phone", "iOS", "Mobile Safari"),
        ),
        (
            f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {APPLE} Version/16.6 Mobile/15E148 Safari/604.1",
            Device("tablet", "iOS", "Mobile Safari"),
        ),
        (f"Mozilla/5.0 (Linux; Android 10; K) {CHROMIUM} Mobile Safari/537.36", Device("phone", "Android", "Chrome Mobile")),
        (f"Mozilla/5.0 (Linux; Android 13; SM-X200) {CHROMIUM} Safari/537.36", Device("tablet", "Android", "Chrome")),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Device("bot", "", "Googlebot")),
        ("curl/8.5.0", Device("other", "", "curl")),
        ("", Device("other", "", "")),
        ("-", Device("other", "", "")),
    ],
)
def test_kind_os_and_browser(user_agent: str, device: Device) -> None:
    assert device_of(user_agent) == device


def test_a_hostile_user_agent_cannot_fill_the_dictionary_with_long_names() -> None:
    device = device_of("Mozilla/5.0 (compatible; " + "Verylong" * 100 + "Bot/1.0)")

    assert len(device.os) <= 64
    assert len(device.browser) <= 64
