package effect

import (
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

func header(lines ...string) *mail.Header {
	h := mail.ParseHeader([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	return &h
}

func acts(edits ...filter.HeaderEdit) []filter.RuleAct {
	return []filter.RuleAct{{Symbol: "RULE", Act: &filter.Act{Edits: edits}}}
}

func TestEdit(t *testing.T) {
	const signature = "DKIM-Signature: v=1; d=a.example; s=s; h=From : subject:\r\n Subject:X-Once; bh=AA==; b=AA=="
	add := func(name, v string) filter.HeaderEdit {
		return filter.HeaderEdit{Kind: filter.AddHeader, Name: name, Value: v}
	}
	set := func(name, v string) filter.HeaderEdit {
		return filter.HeaderEdit{Kind: filter.SetHeader, Name: name, Value: v}
	}
	remove := func(name string) filter.HeaderEdit {
		return filter.HeaderEdit{Kind: filter.RemoveHeader, Name: name}
	}
	prefix := func(v string) filter.HeaderEdit {
		return filter.HeaderEdit{Kind: filter.SubjectPrefix, Name: "Subject", Value: v}
	}
	change := func(e filter.HeaderEdit) filter.HeaderEdit { e.Signed = true; return e }
	for _, c := range []struct {
		name  string
		in    []string
		dkim  []filter.DKIMFacts
		edits []filter.HeaderEdit
		want  []string
		state string // of the last effect
	}{
		{"add on top", []string{"A: 1", "B: 2"}, nil, []filter.HeaderEdit{add("A", "0")}, []string{"A: 0", "A: 1", "B: 2"}, ""},
		{"add in order", []string{"B: 2"}, nil, []filter.HeaderEdit{add("A", "0"), add("A", "1")}, []string{"A: 1", "A: 0", "B: 2"}, ""},
		{"add not ASCII", []string{"B: 2"}, nil, []filter.HeaderEdit{add("A", "für")}, []string{"A: =?utf-8?q?f=C3=BCr?=", "B: 2"}, ""},
		{"set the first, drop the rest", []string{"a: 1", "B: 2", "A: 3", "C: 4"}, nil, []filter.HeaderEdit{set("A", "0")}, []string{"A: 0", "B: 2", "C: 4"}, ""},
		{"set what is not there", []string{"B: 2"}, nil, []filter.HeaderEdit{set("A", "0")}, []string{"A: 0", "B: 2"}, ""},
		{"remove all, folded too", []string{"A: 1\r\n\tmore", "B: 2", "a : 3"}, nil, []filter.HeaderEdit{remove("A")}, []string{"B: 2"}, ""},
		{"remove nothing", []string{"B: 2"}, nil, []filter.HeaderEdit{remove("A")}, []string{"B: 2"}, SkippedAbsent},
		{"prefix", []string{"subject:  hello"}, nil, []filter.HeaderEdit{prefix("[X] ")}, []string{"Subject: [X] hello"}, ""},
		{"prefix of a folded subject", []string{"Subject:\r\n hello\r\n you"}, nil, []filter.HeaderEdit{prefix("[X] ")}, []string{"Subject: [X] \r\n hello\r\n you"}, ""},
		{"prefix without a subject", []string{"B: 2"}, nil, []filter.HeaderEdit{prefix("[X] ")}, []string{"Subject: [X] ", "B: 2"}, ""},
		{"prefix of two", []string{"Subject: a", "Subject: b"}, nil, []filter.HeaderEdit{prefix("[X] ")}, []string{"Subject: [X] a", "Subject: [X] b"}, ""},
		{"prefix twice", []string{"Subject: a"}, nil, []filter.HeaderEdit{prefix("[X] "), prefix("[X]")}, []string{"Subject: [X] a"}, SkippedPresent},
		{"prefix not ASCII", []string{"Subject: a"}, nil, []filter.HeaderEdit{prefix("[ä] ")}, []string{"Subject: =?utf-8?q?[=C3=A4]?= a"}, ""},
		{"prefix not ASCII before such", []string{"Subject: =?utf-8?q?=C3=A4?="}, nil, []filter.HeaderEdit{prefix("[ä] ")},
			[]string{"Subject: =?utf-8?q?[=C3=A4]_?= =?utf-8?q?=C3=A4?="}, ""},
		{"a long subject is folded", []string{"Subject: " + strings.Repeat("x", 980)}, nil, []filter.HeaderEdit{prefix("[X] ")},
			[]string{"Subject: [X]\r\n " + strings.Repeat("x", 980)}, ""},
		{"signed", []string{signature, "Subject: a"}, nil, []filter.HeaderEdit{prefix("[X] ")}, []string{signature, "Subject: a"}, SkippedSigned},
		{"signed and known to be broken", []string{signature, "Subject: a"}, []filter.DKIMFacts{{Result: "fail"}}, []filter.HeaderEdit{prefix("[X] ")},
			[]string{signature, "Subject: [X] a"}, ""},
		{"signed, and permitted", []string{signature, "Subject: a"}, nil, []filter.HeaderEdit{change(prefix("[X] "))}, []string{signature, "Subject: [X] a"}, "broke"},
		{"signed that it is not there", []string{signature, "B: 2"}, nil, []filter.HeaderEdit{set("X-Once", "1")}, []string{signature, "B: 2"}, SkippedSigned},
		{"one more than is signed", []string{signature, "X-Once: 0"}, nil, []filter.HeaderEdit{add("X-Once", "1")}, []string{"X-Once: 1", signature, "X-Once: 0"}, ""},
		{"one more, which is signed too", []string{signature, "Subject: a"}, nil, []filter.HeaderEdit{add("Subject", "b")}, []string{signature, "Subject: a"}, SkippedSigned},
		{"remove what is signed", []string{signature, "From: a"}, nil, []filter.HeaderEdit{remove("From")}, []string{signature, "From: a"}, SkippedSigned},
		{"no field on top", []string{" continued", "B: 2"}, nil, []filter.HeaderEdit{add("A", "0")}, []string{" continued", "B: 2"}, SkippedMalformed},
	} {
		h := header(c.in...)
		before := string(h.Raw)
		subject := ""
		got := Edit(h, h, c.dkim, subject, acts(c.edits...))
		if want := strings.Join(c.want, "\r\n") + "\r\n\r\n"; string(got.Header.Raw) != want {
			t.Errorf("%s:\n%q\nwant\n%q", c.name, got.Header.Raw, want)
		}
		last := got.Effects[len(got.Effects)-1]
		if state := last.Skipped; state != c.state && !(c.state == "broke" && last.Broke) {
			t.Errorf("%s: %+v, want %q", c.name, last, c.state)
		}
		if string(h.Raw) != before {
			t.Errorf("%s: what came was written to", c.name)
		}
	}
}

// FuzzEdit: whatever came, no field of it is lost or changed but the one that
// was meant, and nothing that was added reaches into another.
func FuzzEdit(f *testing.F) {
	f.Add([]byte("Subject: a\r\n b\r\nX: y\r\n\r\n"))
	f.Add([]byte(" odd\r\nSubject : a\r\nSubject:\r\n\r\n"))
	f.Add([]byte("Subject"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h := mail.ParseHeader(raw)
		got := Edit(&h, &h, nil, "", acts(
			filter.HeaderEdit{Kind: filter.SubjectPrefix, Name: "Subject", Value: "[ä] "},
			filter.HeaderEdit{Kind: filter.AddHeader, Name: "X-Added", Value: "1"},
			filter.HeaderEdit{Kind: filter.RemoveHeader, Name: "X-Gone"},
		))
		var want, have []string
		for _, f := range h.Fields {
			if !f.Is("Subject") && !f.Is("X-Gone") {
				want = append(want, string(f.Raw))
			}
		}
		for _, f := range got.Header.Fields {
			if !f.Is("Subject") && !(f.Is("X-Added") && string(f.Raw) == "X-Added: 1\r\n") {
				have = append(have, string(f.Raw))
			}
		}
		for k, s := range want {
			if s == "X-Added: 1\r\n" {
				want = append(want[:k], want[k+1:]...)
				break
			}
		}
		if strings.Join(want, "|") != strings.Join(have, "|") {
			t.Fatalf("%q became %q", raw, got.Header.Raw)
		}
	})
}
