package arc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func validate(m string) Result {
	return Validate(context.Background(), resolver(), []byte(m), time.Unix(1_700_000_000, 0))
}

// in replaces text in one field of a draft.
func in(field *string, old, new string) {
	if !strings.Contains(*field, old) {
		panic(old + " is not in " + *field)
	}
	*field = strings.Replace(*field, old, new, 1)
}

func TestChains(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, MaxSets} {
		r := validate(newChain().grow(n).String())
		if r.Status != Pass || r.OldestPass != 0 || len(r.Sealers) != n || !r.FromSigned || r.Reason != "" {
			t.Errorf("%d sets: %+v", n, r)
		}
	}
	for _, m := range []string{"\r\n", "From: a@example.org\r\n\r\nhi\r\n", "ARC: x\r\nX-ARC-Seal: i=1\r\n\r\n", "",
		"ARC-Seal: hello\r\nARC-Seal: i=0\r\nARC-Authentication-Results:\r\nFrom: a@example.org\r\n\r\n"} {
		if r := validate(m); r.Status != None || r.Reason != "" || r.Sealers != nil {
			t.Errorf("%q: %+v", m, r)
		}
	}
}

// TestOldestPass: a hop that changes the message and seals it keeps the chain,
// but the older message signatures no longer verify.
func TestOldestPass(t *testing.T) {
	c := newChain().grow(2)
	c.body += "-- \r\nfooter\r\n"
	c.grow(2)
	if r := validate(c.String()); r.Status != Pass || r.OldestPass != 3 {
		t.Errorf("%+v", r)
	}
	c.fields = strings.Replace(c.fields, "Subject: hi", "Subject: [list] hi", 1)
	if r := validate(c.String()); r.Status != Fail || !strings.Contains(r.Reason, "message signature 4") {
		t.Errorf("%+v", r)
	}
	// A signature in between that fails ends the search, whatever is below.
	c = newChain().grow(1)
	c.add(func(d *draft) { in(&d.message, "bh=", "bh=AAAA") }).grow(1)
	if r := validate(c.String()); r.Status != Pass || r.OldestPass != 3 {
		t.Errorf("%+v", r)
	}
}

// simpleBody gives the message signature that c= and the hash of the body as it is.
func (d *draft) simpleBody(c string) {
	in(&d.message, " c=relaxed/relaxed;", c)
	relaxed, simple := newChain().bodyHash(), sha256.Sum256([]byte(goodBody))
	in(&d.message, relaxed, base64.StdEncoding.EncodeToString(simple[:]))
}

// TestRules covers what a tag of the newest set does, everything else in it
// being right and signed.
func TestRules(t *testing.T) {
	message := func(old, new string) func(*draft) { return func(d *draft) { in(&d.message, old, new) } }
	seal := func(old, new string) func(*draft) { return func(d *draft) { in(&d.seal, old, new) } }
	results := func(old, new string) func(*draft) { return func(d *draft) { in(&d.results, old, new) } }
	for _, c := range []struct {
		name   string
		edit   func(*draft)
		want   Status
		reason string
	}{
		{"as it should be", nil, Pass, ""},
		{"message: version is ignored", message(" i=3;", " v=7; i=3;"), Pass, ""},
		{"message: unknown tag", message(" i=3;", " i=3; zz=1;"), Pass, ""},
		{"message: instance last", message(" i=3; a=", " a="), Fail, "instance"},
		{"message: i in another place", func(d *draft) { in(&d.message, " i=3;", ""); in(&d.message, "h=", "i=3; h=") }, Pass, ""},
		{"message: capital I", message("i=3", "I=3"), Fail, "instance"},
		{"message: leading zero", message("i=3", "i=03"), Pass, ""},
		{"message: three digits", message("i=3", "i=003"), Fail, "instance"},
		{"message: i=0", message("i=3", "i=0"), Fail, "instance"},
		{"message: i=51", message("i=3", "i=51"), Fail, "more sets"},
		{"message: no number", message("i=3", "i=three"), Fail, "instance"},
		{"message: number and more", message("i=3", "i=3 4"), Fail, "instance"},
		{"message: gap", message("i=3", "i=4"), Fail, "set 3 is incomplete"},
		{"message: duplicate", message("i=3", "i=2"), Fail, "two ARC-Message-Signatures"},
		{"message: duplicate tag", message("d=example.org", "d=example.org; d=example.org"), Fail, "instance"},
		{"message: empty tag", message("; d=", ";; d="), Fail, "empty tag"},
		{"message: space for a tag", message("; d=", "; ; d="), Fail, "empty tag"},
		{"message: tag without a name", message("; d=", "; ==; d="), Fail, "instance"},
		{"message: no d", message("d=example.org; ", ""), Fail, "d="},
		{"message: empty d", message("d=example.org", "d="), Fail, "d="},
		{"message: impossible d", message("d=example.org", "d=example..."), Fail, "d="},
		{"message: no s", message("s=ed;", ""), Fail, "s="},
		{"message: empty s", message("s=ed", "s="), Fail, "s="},
		{"message: no t", message(" t=12345;", ""), Pass, ""},
		{"message: empty t", message("t=12345", "t="), Fail, "t="},
		{"message: space in t", message("t=12345", "t=12 345"), Fail, "t="},
		{"message: no number in t", message("t=12345", "t=noon"), Fail, "t="},
		{"message: expired", message("t=12345", "t=12345; x=12346"), Fail, "expired"},
		{"message: no a", message("a=ed25519-sha256; ", ""), Fail, "a="},
		{"message: empty a", message("a=ed25519-sha256", "a="), Fail, "a="},
		{"message: sha1", message("a=ed25519-sha256", "a=rsa-sha1"), Fail, "rsa-sha1"},
		{"message: unknown a", message("a=ed25519-sha256", "a=ed25519-sha3"), Fail, "algorithm"},
		{"message: a in capitals", message("a=ed25519-sha256", "a=ED25519-SHA256"), Fail, "algorithm"},
		{"message: c in capitals", message("c=relaxed/relaxed", "c=Relaxed/Relaxed"), Fail, "canonical"},
		{"message: q in capitals", message("bh=", "q=DNS/TXT; bh="), Fail, "query"},
		{"message: capital B is another tag", message("bh=", "B=AAAA; bh="), Pass, ""},
		{"message: other a", message("a=ed25519-sha256", "a=rsa-sha256"), Fail, "another algorithm"},
		{"message: no h", message("h=from:to:subject; ", ""), Fail, "h="},
		{"message: h with spaces", message("h=from:to:subject", "h=from : to :\r\n subject"), Pass, ""},
		{"message: h in capitals", message("h=from:to:subject", "h=FROM:To:Subject"), Pass, ""},
		{"message: h with a hole", message("h=from:to", "h=from::to"), Pass, ""},
		{"message: h over-signed", message("h=from:to", "h=from:from:to:x-none"), Pass, ""},
		{"message: h with ARC-Authentication-Results", message("h=from:", "h=from:arc-authentication-results:"), Pass, ""},
		{"message: h with ARC-Message-Signature", message("h=from:", "h=from:arc-message-signature:"), Pass, ""},
		{"message: h with ARC-Seal", message("h=from:", "h=from:Arc-Seal:"), Fail, "ARC-Seal"},
		{"message: no c, simple", func(d *draft) { d.simpleBody(""); d.simple = true }, Pass, ""},
		{"message: simple", func(d *draft) { d.simpleBody(" c=simple;"); d.simple = true }, Pass, ""},
		{"message: simple, relaxed in fact", message("c=relaxed/relaxed", "c=simple"), Fail, "body hash"},
		{"message: no c, header simple and body relaxed", func(d *draft) { in(&d.message, " c=relaxed/relaxed;", ""); d.simple = true }, Fail, "body hash"},
		{"message: no c, relaxed in fact", message("c=relaxed/relaxed; ", ""), Pass, ""},
		{"message: no c, another body", func(d *draft) { in(&d.message, "c=relaxed/relaxed; ", ""); in(&d.message, "bh=", "bh=AAAA") }, Fail, "body hash"},
		{"message: half a c means simple for the body", message("c=relaxed/relaxed", "c=relaxed"), Fail, "body hash"},
		{"message: empty c", message("c=relaxed/relaxed", "c="), Fail, "canonical"},
		{"message: unknown c", message("c=relaxed/relaxed", "c=relaxed/loose"), Fail, "canonical"},
		{"message: other bh", message("bh=", "bh=AAAA"), Fail, "body hash"},
		{"message: broken bh", message("bh=", "bh=*"), Fail, "bh="},
		{"message: no bh", message("bh=", "hb="), Fail, "bh="},
		{"message: l covers all", message("bh=", "l=18; bh="), Pass, ""},
		{"message: l covers less", message("bh=", "l=7; bh="), Fail, "l="},
		{"message: query method", message("bh=", "q=http; bh="), Fail, "query"},
		{"message: no key", message("s=ed", "s=none"), Fail, "no key record"},
		{"message: two keys", message("s=ed", "s=two"), Fail, "several key records"},
		{"message: revoked key", message("s=ed", "s=old"), Fail, "revoked"},
		{"message: other domain", message("d=example.org", "d=Example.NET"), Pass, ""},

		{"seal: cv=none late", seal("cv=pass", "cv=none"), Fail, "cv=none"},
		{"seal: cv=fail", func(d *draft) { in(&d.seal, "cv=pass", "cv=fail"); d.cover = nil }, Fail, "found the chain broken"},
		{"seal: no cv", seal("cv=pass; ", ""), Fail, "cv="},
		{"seal: empty cv", seal("cv=pass", "cv="), Fail, "cv="},
		{"seal: unknown cv", seal("cv=pass", "cv=good"), Fail, "cv="},
		{"seal: cv in capitals", seal("cv=pass", "cv=PASS"), Fail, "cv="},
		{"seal: capital CV", seal("cv=pass", "CV=pass"), Fail, "cv="},
		{"seal: comment before the value of cv", seal("cv=pass", "cv=(x) pass"), Pass, ""},
		{"seal: comment behind the value of cv", seal("cv=pass", "cv=pass (x)"), Fail, "cv="},
		{"seal: capital H is another tag", seal("cv=pass", "cv=pass; H=from"), Pass, ""},
		{"seal: a in capitals", seal("a=ed25519-sha256", "a=Ed25519-sha256"), Fail, "algorithm"},
		{"seal: bh is ignored", seal("cv=pass", "cv=pass; bh=AAAA"), Pass, ""},
		{"seal: x is ignored", seal("cv=pass", "cv=pass; x=12346"), Pass, ""},
		{"seal: h", seal("cv=pass", "cv=pass; h=from"), Fail, "h="},
		{"seal: empty h", seal("cv=pass", "cv=pass; h="), Fail, "h="},
		{"seal: unknown tag", seal("cv=pass", "cv=pass; zz=1"), Pass, ""},
		{"seal: c is ignored", seal("cv=pass", "cv=pass; c=simple"), Pass, ""},
		{"seal: empty tag", seal("; d=", ";; d="), Fail, "empty tag"},
		{"seal: no i", seal(" i=3;", ""), Fail, "instance"},
		{"seal: wrong i", seal("i=3", "i=2"), Fail, "two ARC-Seals"},
		{"seal: no t", seal("t=12345; ", ""), Pass, ""},
		{"seal: space in t", seal("t=12345", "t=12 345"), Fail, "t="},
		{"seal: no d", seal("d=example.org; ", ""), Fail, "d="},
		{"seal: impossible d", seal("d=example.org", "d=***"), Fail, "d="},
		{"seal: no s", seal(" s=ed;", ""), Fail, "s="},
		{"seal: no key", seal("s=ed", "s=none"), Fail, "no key record"},
		{"seal: sha1", seal("a=ed25519-sha256", "a=rsa-sha1"), Fail, "rsa-sha1"},
		{"seal: other domain than the message", seal("d=example.org", "d=example.net"), Pass, ""},
		{"seal: spaces", seal("; cv=pass;", " ;\r\n\tcv =  pass ;"), Pass, ""},
		{"seal: its own set only", func(d *draft) { d.cover = nil }, Fail, "seal 3: signature"},
		{"seal: not the first set", func(d *draft) { d.cover = d.cover[1:] }, Fail, "seal 3: signature"},

		{"results: comments", results(" i=3;", " (a (b) \\) ) i (c) = (d)\r\n 3 (e) ;"), Pass, ""},
		{"results: tab", results(" i=3; ", "\ti=3 ;"), Pass, ""},
		{"results: no i", results(" i=3;", ""), Fail, "instance"},
		{"results: empty i", results("i=3", "i="), Fail, "instance"},
		{"results: i=0", results("i=3", "i=0"), Fail, "instance"},
		{"results: capital I", results("i=3", "I=3"), Fail, "instance"},
		{"results: i not first", results("i=3; lists.example.org;", "lists.example.org; i=3;"), Fail, "instance"},
		{"results: no semicolon", results("i=3; lists", "i=3 lists"), Fail, "instance"},
		{"results: wrong i", results("i=3", "i=1"), Fail, "two ARC-Authentication-Results"},
		{"results: junk behind i", results("lists.example.org", "((("), Pass, ""},
		{"results: open comment", results(" i=3", " (i=3"), Fail, "instance"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := validate(newChain().grow(2).add(c.edit).String())
			if r.Status != c.want || !strings.Contains(r.Reason, c.reason) || (r.Status == Pass) != (r.Reason == "") || r.Temporary {
				t.Errorf("got %s (%s), want %s (%s)", r.Status, r.Reason, c.want, c.reason)
			}
		})
	}
}

// TestStructure changes the fields of a good chain without signing anew.
func TestStructure(t *testing.T) {
	good := newChain().grow(3)
	m := good.String()
	lines := func(i int) []string {
		s := good.sets[i-1]
		return []string{"ARC-Authentication-Results:" + s.results + "\r\n", "ARC-Message-Signature:" + s.message + "\r\n", "ARC-Seal:" + s.seal + "\r\n"}
	}
	without := func(m string, remove ...string) string {
		for _, r := range remove {
			m = strings.Replace(m, r, "", 1)
		}
		return m
	}
	for _, c := range []struct {
		name, message string
		want          Status
		reason        string
	}{
		{"as it was", m, Pass, ""},
		{"order does not matter", lines(1)[2] + lines(3)[0] + without(m, lines(1)[2], lines(3)[0]), Pass, ""},
		{"names in capitals", strings.ReplaceAll(m, "ARC-Seal:", "arc-SEAL:"), Pass, ""},
		{"folding", strings.ReplaceAll(m, "; cv=", ";\r\n\t  cv="), Pass, ""},
		{"a set less", without(m, lines(3)...), Pass, ""},
		{"middle set gone", without(m, lines(2)...), Fail, "set 2 is missing"},
		{"first set gone", without(m, lines(1)...), Fail, "set 1 is missing"},
		{"no results", without(m, lines(2)[0]), Fail, "set 2 is incomplete"},
		{"no message signature", without(m, lines(1)[1]), Fail, "set 1 is incomplete"},
		{"no seal", without(m, lines(3)[2]), Fail, "set 3 is incomplete"},
		{"results twice", lines(1)[0] + m, Fail, "two"},
		{"message signature twice", lines(2)[1] + m, Fail, "two"},
		{"seal twice", lines(3)[2] + m, Fail, "two"},
		{"a stray field", "ARC-Seal: hello\r\n" + m, Fail, "instance"},
		{"an empty field", "ARC-Authentication-Results:\r\n" + m, Fail, "instance"},
		{"results changed", strings.Replace(m, "i=1; lists", "i=1; evil", 1), Fail, "seal 3"},
		{"body changed", m + "x\r\n", Fail, "message signature 3: body hash"},
		{"signed field changed", strings.Replace(m, "Subject: hi", "Subject: ho", 1), Fail, "message signature 3: signature"},
		{"signed field on top", "Subject: ho\r\n" + m, Pass, ""},
		{"field below", strings.Replace(m, "\r\n\r\n", "\r\nSubject: ho\r\n\r\n", 1), Fail, "signature"},
		{"only a seal", lines(1)[2] + goodFields + "\r\n", Fail, "incomplete"},
		{"too large", "X: " + strings.Repeat("a", MaxHeader) + "\r\n" + m, Fail, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := validate(c.message)
			if r.Status != c.want || !strings.Contains(r.Reason, c.reason) {
				t.Errorf("got %s (%s), want %s (%s)", r.Status, r.Reason, c.want, c.reason)
			}
		})
	}
}

// TestTooManySets: the 51st set is none that there can be.
func TestTooManySets(t *testing.T) {
	if r := validate(newChain().grow(MaxSets + 1).String()); r.Status != Fail || !strings.Contains(r.Reason, "more sets") {
		t.Errorf("%+v", r)
	}
}

// TestOldSetsFaults: a fault of an older message signature does not break the
// chain, one of an older seal does.
func TestOldSetsFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*draft)
		want Status
	}{
		{"message without h", func(d *draft) { in(&d.message, "h=from:to:subject; ", "") }, Pass},
		{"message with a dead key", func(d *draft) { in(&d.message, "s=ed", "s=none") }, Pass},
		{"message with a key out of reach", func(d *draft) { in(&d.message, "s=ed", "s=down") }, Pass},
		{"seal with a dead key", func(d *draft) { in(&d.seal, "s=ed", "s=none") }, Fail},
		{"seal with h", func(d *draft) { in(&d.seal, "cv=", "h=from; cv=") }, Fail},
		{"seal with cv=fail", func(d *draft) { in(&d.seal, "cv=pass", "cv=fail") }, Fail},
	} {
		r := validate(newChain().grow(1).add(c.edit).grow(1).String())
		if r.Status != c.want || c.want == Pass && r.OldestPass != 3 || r.Temporary {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

// TestFromSigned: a chain that never covered From is valid, and says so.
func TestFromSigned(t *testing.T) {
	for _, h := range []string{"h=to", "h="} {
		r := validate(newChain().grow(1).add(func(d *draft) { in(&d.message, "h=from:to:subject", h) }).String())
		if r.Status != Pass || r.FromSigned {
			t.Errorf("%s: %+v", h, r)
		}
	}
}
