"""Drive: a person looks at the console of a cluster of three: members, keys, races, a crash; then at one with tokens.

Usage: drive.py PROGRAM CHROMIUM SCREENSHOT-DIR. Everything is done with mouse and keyboard in a real browser.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from browser import Browser
from cluster import Member, three

HOSTILE_KEY = "<img src=x onerror=alert(1)>"
HOSTILE_VALUE = "<script>alert(2)</script><b onclick=alert(3)>bold</b>"
# ["north", :ok, {1, 2}]: a text, an atom and a tuple.
TYPED = bytes.fromhex("83 65 6e6f727468 d827 62 6f6b d94344 82 01 02")
LEADERS = "[...document.querySelectorAll('tr[data-node] .tag.strong')].filter((tag) => tag.checkVisibility()).length"
NAMES = "[...document.querySelectorAll('.tree .name')].map((name) => name.textContent)"
BANNERS = "document.querySelector('#banners').textContent"
SIZES = {"wide": (1600, 900), "narrow": (360, 740)}


def text_of(selector: str) -> str:
    """What an element says, as an expression of the page; nothing when it is not there."""
    return f"(document.querySelector({json.dumps(selector)})?.textContent ?? '')"


class Story:
    """The browser, the members, and where the pictures go."""

    def __init__(self, browser: Browser, members: list[Member], pictures: Path) -> None:
        """Take them; each method is a chapter."""
        self.browser, self.pictures = browser, pictures
        status = members[0].data("/api/v1/status")
        leads = {member["name"]: member["leader"] for member in status["cluster"]["members"]}
        by_name = {f"member{number}": member for number, member in enumerate(members, start=1)}
        self.leader = next(name for name in by_name if leads[name])
        self.here, self.other = (name for name in by_name if name != self.leader)
        self.members = by_name
        self.member = by_name[self.here]

    def picture(self, name: str) -> None:
        """Wide and narrow, light and dark."""
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                self.browser.look(width, height, scheme)
                self.browser.screenshot(self.pictures / f"{name}-{size}-{scheme}.png")
        self.browser.look(*SIZES["wide"], "light")

    def check(self, expression: str, what: str) -> None:
        """Fail unless it is true now."""
        assert self.browser.evaluate(f"Boolean({expression})"), f"not so: {what}; complaints {self.browser.complaints}"

    def quiet(self) -> None:
        """Nothing was complained of, except answers that are no good ones, which the browser logs itself."""
        loud = [each for each in self.browser.complaints if not each.startswith("Failed to load resource")]
        assert not loud, loud

    def look_at_members(self) -> None:
        """Three members, one leader, and not a word on the browser's console."""
        page = self.browser
        page.look(*SIZES["wide"], "light")
        page.open(f"{self.member.url}/console")
        page.wait("document.querySelectorAll('tr[data-node]').length === 3", "three members")
        page.wait(f"{LEADERS} === 1", "one leader")
        page.wait("document.querySelectorAll('tr[data-node] .state.good').length === 3", "all three well")
        self.check(f"{text_of('#node')}.startsWith('{self.here}, follower')", "the node itself is named")
        assert not page.complaints, page.complaints
        self.picture("members")

    def create(self) -> None:
        """A key is created; not a digit of its numbers is lost."""
        page = self.browser
        page.click("nav a", "Keys")
        page.wait(f"{text_of('.tree-box')}.includes('no keys yet')", "an empty tree")
        page.click("button", "New key")
        page.type(".editor input[type=text]", "shop:cart:7")
        page.type(".editor textarea", '{"total": 12.50, "whole": 1.0, "big": 12345678901234567890}')
        page.click(".editor button", "Create")
        page.wait(f"{text_of('.record h2')} === 'shop:cart:7' && {text_of('[data-revision]')}", "the new key")
        stored = self.member.ask("GET", "/api/v1/kv/shop:cart:7")[0].decode()
        assert '"whole":1.0' in stored, stored
        assert '"big":12345678901234567890' in stored, stored
        page.wait(f"{text_of('.tree-value')}.includes('12345678901234567890')", "the whole number")
        self.quiet()

    def edit(self) -> None:
        """An edit is written over the revision that was read, and keeps what it does not touch."""
        page = self.browser
        before = page.evaluate(text_of("[data-revision]"))
        page.click(".record button", "Edit")
        page.wait("document.querySelector('.editor textarea')?.value.includes('1.0')", "the value in the editor")
        page.type(".editor textarea", '{"total": 13, "items": ["tea", {"kind": "green"}]}')
        page.click(".editor button", "Save")
        page.wait(f"{text_of('.tree-value')}.includes('items')", "the edited value")
        self.check(f"{text_of('[data-revision]')} !== '{before}'", "the revision has changed")
        page.click(".tree .group", "shop:")
        page.click(".tree .group", "cart:")
        page.wait("document.querySelector('.tree .leaf[aria-current]')?.textContent === '7'", "the key in the tree")
        self.quiet()

    def lose_a_race(self) -> None:
        """Somebody else writes first: the page shows what is there and lets the person decide."""
        page = self.browser
        page.click(".record button", "Edit")
        page.wait("document.querySelector('.editor textarea')?.value.includes('green')", "the editor")
        page.type(".editor textarea", '{"mine": true}')
        faster = self.members[self.leader].ask("PUT", "/api/v1/kv/shop:cart:7", {"value": {"theirs": "faster"}})[1]
        page.click(".editor button", "Save")
        revision = faster.strip('"')
        page.wait(f"{text_of('.conflict')}.includes('revision {revision}')", "the conflict")
        self.check(f"{text_of('.conflict pre')}.includes('faster')", "what is there now is shown")
        assert self.member.data("/api/v1/kv/shop:cart:7") == {"theirs": "faster"}, "nothing was written"
        self.picture("conflict")
        page.click(".conflict button", f"Write mine over revision {revision}")
        page.wait(f"{text_of('.tree-value')}.includes('mine')", "the person's decision")
        assert self.member.data("/api/v1/kv/shop:cart:7") == {"mine": True}

    def lose_a_race_to_a_deletion(self) -> None:
        """The key vanishes under the editor: it can be created again."""
        page = self.browser
        page.click(".record button", "Edit")
        page.wait("document.querySelector('.editor textarea')?.value.includes('mine')", "the editor")
        self.member.ask("DELETE", "/api/v1/kv/shop:cart:7")
        page.click(".editor button", "Save")
        page.wait(f"{text_of('.conflict')}.includes('This key is gone')", "the conflict")
        page.click(".conflict button", "Create it again")
        page.wait(f"{text_of('.tree-value')}.includes('mine')", "the key again")
        self.quiet()

    def meet_hostile_names(self) -> None:
        """Keys and values that look like markup are text."""
        page = self.browser
        page.click("button", "New key")
        page.type(".editor input[type=text]", HOSTILE_KEY)
        page.click(".editor label", "Text")
        page.type(".editor textarea", HOSTILE_VALUE)
        page.click(".editor button", "Create")
        page.wait(f"{text_of('.record h2')} === {json.dumps(HOSTILE_KEY)}", "the key as text")
        page.wait(f"{text_of('.value')} === {json.dumps(HOSTILE_VALUE)}", "the value as text")
        page.wait(f"{NAMES}.includes({json.dumps(HOSTILE_KEY)})", "the key in the tree")
        self.check("document.querySelectorAll('main img, main script, main b[onclick]').length === 0", "no markup")
        self.quiet()

    def set_a_lifetime(self) -> None:
        """A lifetime counts down and can be taken away; types that JSON lacks are shown and survive."""
        page = self.browser
        self.member.ask("PUT", "/api/v1/kv/typed", TYPED)
        page.evaluate("location.hash = '#/keys/typed'")
        page.wait(f"{text_of('.value')}.includes('atom') && {text_of('.value')}.includes('tuple')", "the types")
        page.click(".record button", "Lifetime")
        page.type("dialog input", "3600")
        page.click("dialog button", "Set lifetime")
        page.wait(f"{text_of('.facts')}.includes('59 min')", "the lifetime that counts down")
        page.click(".record button", "Lifetime")
        page.click("dialog button", "Let it live for ever")
        page.wait(f"{text_of('.facts')}.includes('for ever')", "no lifetime")
        assert self.member.ask("GET", "/api/v1/kv/typed", Accept="application/cbor")[0] == TYPED
        self.quiet()

    def walk_the_tree(self) -> None:
        """A large group takes one line, what stands behind it is there, and the keyboard walks all of it."""
        page = self.browser
        for first in range(0, 1000, 500):
            operations = [{"key": f"order:{number:05}", "value": number} for number in range(first, first + 500)]
            self.member.ask("POST", "/api/v1/kv/bulk", {"operations": operations})
        self.member.ask("PUT", "/api/v1/kv/zebra%2Fstripes", {"value": "black"})
        self.member.ask("PUT", "/api/v1/kv/%FF%00", {"value": 1})
        page.click("button", "Refresh")
        names = (
            "[...document.querySelectorAll('.tree > li > button .name')].map((name) => name.textContent).join(' | ')"
        )
        wanted = f"{HOSTILE_KEY} | order: | shop: | typed | zebra/ | ff 00"
        page.wait(f"{names} === {json.dumps(wanted)}", f"the first level: {wanted}")
        page.evaluate("document.querySelectorAll('.tree > li > button')[1].focus()")
        page.press("ArrowRight")
        leaves = "document.querySelectorAll('.tree > li:nth-child(2) .leaf').length"
        page.wait(f"{leaves} === 200", "the first page of the group")
        page.click(".tree button.more", "Show more")
        page.wait(f"{leaves} === 400", "the second page")
        page.evaluate("document.querySelectorAll('.tree > li > button')[1].focus()")
        page.press("ArrowDown")
        page.press("Enter")
        page.wait(f"{text_of('.record h2')} === 'order:00000'", "the key that was chosen by keyboard")
        page.type("input[type=search]", "zeb")
        page.wait(f"{names} === 'zebra/'", "the search by prefix")
        page.type("input[type=search]", "")
        page.wait(f"{names} === {json.dumps(wanted)}", "all keys again")
        page.evaluate("location.hash = '#/keys/shop:cart:7'")
        page.wait(f"{text_of('.tree-value')}.includes('mine')", "the cart")
        self.picture("keys")

    def delete(self) -> None:
        """A key is deleted after a question, and not when it was changed in between."""
        page = self.browser
        page.evaluate("location.hash = '#/keys/typed'")
        page.wait(f"{text_of('.record h2')} === 'typed' && {text_of('[data-revision]')}", "the key")
        page.click(".record button", "Delete")
        page.wait("document.querySelector('dialog[open]')", "the question")
        self.member.ask("PUT", "/api/v1/kv/typed", {"value": "changed"})
        page.click("dialog button", "Delete")
        page.wait(f"{text_of('dialog .error')}.includes('Nothing was done')", "the refusal")
        page.click("dialog button", "Cancel")
        page.wait(f"{text_of('.value')} === 'changed'", "what is there now")
        page.click(".record button", "Delete")
        page.click("dialog button", "Delete")
        page.wait(
            f"!{NAMES}.includes('typed')",
            "the key is gone",
        )
        assert "typed" not in str(self.member.data("/api/v1/kv?prefix=typed")["items"])
        self.quiet()

    def look_at_charts(self) -> None:
        """The charts draw what was measured."""
        page = self.browser
        page.click("nav a", "Metrics")
        page.wait("document.querySelectorAll('.chart').length >= 4", "charts")
        page.wait(
            "[...document.querySelectorAll('.chart')].every((chart) => chart.querySelector('.line'))", "a line in each"
        )
        page.click("summary", "All figures")
        page.wait(f"{text_of('details table')}.includes('concord_cluster_size')", "all figures")
        self.picture("metrics")
        self.quiet()

    def lose_members(self) -> None:
        """Members are killed with -9: the dead are marked, a missing majority and a dead node are said."""
        page = self.browser
        page.click("nav a", "Members")
        self.members[self.leader].kill()
        dead = "[...document.querySelectorAll('tr.bad')].map((row) => row.querySelector('b').textContent).join()"
        page.wait(f"{dead} === '{self.leader}' && {LEADERS} === 1", "the dead one marked and a new leader", 40)
        page.wait(f"{BANNERS}.includes('{self.leader}')", "the warning")
        self.picture("member-lost")
        self.members[self.other].kill()
        page.wait(f"/No (leader|majority)/.test({BANNERS})", "the lost majority", 40)
        self.picture("no-leader")
        self.member.kill()
        page.wait(f"{BANNERS}.includes('Cannot reach this node')", "the dead node")
        self.quiet()


def sign_in(browser: Browser, program: Path, work: Path, pictures: Path) -> None:
    """A node that wants tokens: the page asks for one, says when it is not accepted, and puts it in no address."""
    data = work / "tokens"
    member = Member(program, work / "tokens.log", "--auth", "--data-dir", str(data))
    create = [program, "token", "create", "--data-dir", data, "--scope", "read,write", "--quiet"]
    token = subprocess.run(create, check=True, capture_output=True, text=True).stdout.strip()
    try:
        browser.open(f"{member.url}/console/#/keys")
        browser.wait("document.querySelector('#sign-in')?.checkVisibility()", "the form")
        browser.screenshot(pictures / "sign-in.png")
        browser.type("#token", "sk_concord_wrong")
        browser.click("#sign-in button", "Sign in")
        browser.wait(f"{text_of('#sign-in-error')}.includes('not accepted')", "the refusal")
        seen = browser.evaluate(
            "location.href + performance.getEntriesByType('resource').map((each) => each.name)"
            " + JSON.stringify({...sessionStorage})"
        )
        assert "wrong" not in seen, seen
        member.ask("PUT", "/api/v1/kv/guarded", {"value": 1}, Authorization=f"Bearer {token}")
        browser.type("#token", token)
        browser.click("#sign-in button", "Sign in")
        browser.wait(f"{NAMES}.includes('guarded')", "the keys")
        browser.click(".tree .name", "guarded")
        browser.wait(f"{text_of('main')}.includes('Revision')", "the record")
        seen = browser.evaluate("location.href + performance.getEntriesByType('resource').map((each) => each.name)")
        assert token not in seen, "the token is in an address"
    finally:
        member.kill()


def main() -> None:
    """Tell the whole story."""
    program, chromium, pictures = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    pictures.mkdir(parents=True, exist_ok=True)
    members: list[Member] = []
    with tempfile.TemporaryDirectory(prefix="concord-console-") as folder, Browser(chromium) as browser:
        work = Path(folder)
        try:
            members = three(program, work)
            story = Story(browser, members, pictures)
            for chapter in (
                story.look_at_members,
                story.create,
                story.edit,
                story.lose_a_race,
                story.lose_a_race_to_a_deletion,
                story.meet_hostile_names,
                story.set_a_lifetime,
                story.walk_the_tree,
                story.delete,
                story.look_at_charts,
                story.lose_members,
            ):
                begun = time.monotonic()
                chapter()
                print(f"console: {chapter.__name__.replace('_', ' ')}, {time.monotonic() - begun:.1f} s", flush=True)
            sign_in(browser, program, work, pictures)
        finally:
            for member in members:
                member.kill()
    print(f"console: passed; its pictures are in {pictures}")


if __name__ == "__main__":
    main()
