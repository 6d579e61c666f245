"""Who clicked: every class has its evidence, and people stay people."""

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from tracker.traffic import LIST_VERSION, agent_flag, classify

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
ANDROID = (
    "Mozilla/5.0 (Linux; Android 13; Pixel 7; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/120.0 Mobile Safari/537.36"
)

PEOPLE = [
    CHROME,
    CHROME + " Edg/126.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)",
    "Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16",
    "Lynx/2.8.7rel.2 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/1.0.1f",
    "SAMSUNG-GT-E2232/1.0 Openwave/6.2.3 Profile/MIDP-2.0 Configuration/CLDC-1.1 UP.Browser/6.2.3.3.c.1.101 (GUI) MMP/2.0",
    # Phones called Cubot, and a rule of a rival on "Google/google", made bots of people.
    "Mozilla/5.0 (Linux; Android 11; CUBOT_X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/100.0.4896.127 Mobile Safari/537.36",
    ANDROID + " Instagram 312.0.0.34.111 Android (33/13; 420dpi; 1080x2207; Google/google; Pixel 7; panther; panther; en_US; 548323757)",
    # The browsers inside other apps.
    ANDROID + " MetaIAB Facebook",
    ANDROID + " [FB_IAB/FB4A;FBAV/455.0.0.44.88;]",
    ANDROID + " Viber/20.4.0.2",
    ANDROID + " [Pinterest/Android]",
    IPHONE + " GSA/297.0.595435837 Mobile/15E148 Safari/604.1",
    IPHONE + " Mobile/15E148 [LinkedInApp]/9.29.2586",
    IPHONE + " Mobile/15E148 musical_ly_32.5.0 NetType/WIFI Channel/App Store BytedanceWebview/d8a21c6",
    IPHONE + " Mobile/15E148 Snapchat/12.40.0.30 (like Safari/8615.2.9.0.1, panda)",
]


@pytest.mark.parametrize("user_agent", PEOPLE)
def test_people_are_human(user_agent: str) -> None:
    assert classify((), user_agent).traffic_class == "human"


@pytest.mark.parametrize(
    ("user_agent", "traffic_class", "reason"),
    [
        (GOOGLEBOT, "declared_bot", r"list:Googlebot\/"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "declared_bot", "list:Ahrefs(Bot|SiteAudit)"),
        ("Mozilla/5.0 (compatible; Nobodybot/0.1; +https://nobody.example/)", "declared_bot", r"own:\+ ?https?://"),
        ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview", "list:facebookexternalhit"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview", "list:Slackbot"),
        ("WhatsApp/2.23.20.0 A", "preview", "list:WhatsApp"),
        ("Pinterest/0.2 (+https://www.pinterest.com/bot.html)", "preview", r"list:pinterest\.com\/bot"),
        ("Mozilla/5.0 (compatible; Applebot/0.3; +http://www.apple.com/go/applebot)", "preview", "own:Applebot"),
        ("curl/8.5.0", "invalid_ua", "list:^curl"),
        ("python-requests/2.32.3", "invalid_ua", "list:python-requests"),
        ("Wget/1.21.4", "invalid_ua", "list:[wW]get"),
        ("Java/17.0.8", "invalid_ua", "own:^Java/"),
        ("Go-http-client/2.0", "invalid_ua", "list:Go-http-client"),
        ("okhttp/4.12.0", "invalid_ua", "list:okhttp"),
        ("MyShop/120 CFNetwork/1494.0.7 Darwin/23.4.0", "invalid_ua", "own:CFNetwork/"),
        ("", "invalid_ua", "no_user_agent"),
        ("-", "invalid_ua", "no_user_agent"),
        ("Mozilla/5.0", "invalid_ua", "no_browser"),
        ("<script>alert(1)</script>", "invalid_ua", "no_browser"),
    ],
)
def test_machines_are_told_by_what_they_say(user_agent: str, traffic_class: str, reason: str) -> None:
    verdict = classify((), user_agent)

    assert (verdict.traffic_class, verdict.reason) == (traffic_class, reason)


@pytest.mark.parametrize(
    ("flags", "traffic_class", "reason"),
    [
        (("head",), "head", "flag:head"),
        (("prefetch",), "prefetch", "flag:prefetch"),
        (("hidden_frame",), "hidden_frame", "flag:hidden_frame"),
        (("orphan",), "orphan", "flag:orphan"),
        (("link_disabled",), "disabled", "flag:link_disabled"),
        (("duplicate",), "duplicate", "flag:duplicate"),
        (("deep_link_refused",), "human", ""),
        (("link_disabled", "head"), "head", "flag:head"),
        (("link_disabled", "hidden_frame"), "hidden_frame", "flag:hidden_frame"),
    ],
)
def test_flags_of_a_persons_browser(flags: tuple[str, ...], traffic_class: str, reason: str) -> None:
    verdict = classify(flags, CHROME)

    assert (verdict.traffic_class, verdict.reason) == (traffic_class, reason)


def test_a_bot_on_a_disabled_link_is_a_bot_and_its_head_request_a_head() -> None:
    assert classify(("link_disabled",), GOOGLEBOT).traffic_class == "declared_bot"
    assert classify(("head",), GOOGLEBOT).traffic_class == "head"


def test_a_withheld_user_agent_proves_nothing_but_its_flag_does() -> None:
    assert classify(("agent_withheld",), "").traffic_class == "human"
    assert classify(("agent_withheld", "declared_bot"), "").traffic_class == "declared_bot"
    assert [agent_flag(agent) for agent in (CHROME, GOOGLEBOT, "curl/8.5.0", "")] == ["", "declared_bot", "invalid_ua", "invalid_ua"]


def test_the_verdict_names_its_lists() -> None:
    assert classify((), CHROME).list_version == LIST_VERSION == "crawler-user-agents 1.67.0, own 2"


def test_every_example_of_the_public_list_is_a_machine_except_metas_in_app_browser() -> None:
    examples = [example for entry in CRAWLER_USER_AGENTS_DATA for example in entry["instances"]]
    missed = [example for example in examples if classify((), example).traffic_class == "human"]

    assert len(examples) > 2000
    assert [example.rpartition(" ")[0][-7:] for example in missed] == ["MetaIAB"]


@pytest.mark.parametrize("flag", ["capped", "rate_limited"])
def test_a_click_beyond_a_limit_has_a_class_of_its_own_unless_it_was_no_persons(flag: str):
    assert classify((flag,), CHROME).traffic_class == flag
    assert classify((flag,), CHROME).reason == f"flag:{flag}"
    assert classify((flag,), "curl/8.0").traffic_class == "invalid_ua"
    assert classify(("head", flag), CHROME).traffic_class == "head"
