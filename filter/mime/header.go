package mime

import (
	"bytes"
	"slices"

	"mailweir/filter"
	"mailweir/mail"
)

// once are the fields that RFC 5322 section 3.6 allows once, and the symbols
// for none and for several; "" where none is fine or says nothing.
var once = []struct{ field, missing, multiple string }{
	{"From", filter.SymFromMissing, filter.SymFromMultiple},
	{"Date", "DATE_MISSING", "DATE_MULTIPLE"},
	{"Message-ID", "MESSAGE_ID_MISSING", "MESSAGE_ID_MULTIPLE"},
	{"Subject", "SUBJECT_MISSING", "SUBJECT_MULTIPLE"},
	{"To", "", "TO_MULTIPLE"},
	{"Cc", "", "CC_MULTIPLE"},
	{"Reply-To", "", "REPLY_TO_MULTIPLE"},
	{"Sender", "", "SENDER_MULTIPLE"},
	{"MIME-Version", "", "MIME_VERSION_MULTIPLE"},
}

// headerSymbols reports the faults of a header section's structure. They are
// not decided upon here: honest software commits every one of them.
func headerSymbols(h *mail.Header, utf8 bool) []filter.Symbol {
	var out []filter.Symbol
	add := func(name string) {
		if name != "" {
			out = append(out, filter.Symbol{Name: name})
		}
	}
	counts := countOnce(h)
	for i, o := range once {
		switch n := counts[i]; {
		case n == 0:
			add(o.missing)
		case n > 1:
			add(o.multiple)
		}
	}
	odd := oddLines(h)
	if odd.notField {
		add("HEADER_NOT_A_FIELD")
	}
	if odd.space {
		add("HEADER_SPACE_BEFORE_COLON")
	}
	if odd.keySpace {
		add(filter.SymKeyFieldSpace)
	}
	if odd.nul {
		add(filter.SymHeaderNUL)
	}
	if odd.empty {
		add("HEADER_EMPTY_FOLD")
	}
	if odd.eight && !utf8 {
		add("HEADER_8BIT")
	}
	if !bytes.HasSuffix(h.Raw, []byte("\r\n\r\n")) && len(h.Raw) > 2 {
		add("HEADER_NO_BREAK")
	}
	return out
}

func countOnce(h *mail.Header) (n [16]int) {
	for _, f := range h.Fields {
		for i := range once {
			if f.Is(once[i].field) {
				n[i]++
				break
			}
		}
	}
	return n
}

type odd struct{ notField, space, keySpace, nul, empty, eight bool }

// keyFields are those that say who wrote what to whom, and how to read it: a
// program that takes "From :" for From and one that does not show different
// messages.
var keyFields = []string{
	"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Subject", "Date", "Message-ID",
	"Resent-From", "Resent-Sender", "MIME-Version", "Content-Type",
	"Content-Transfer-Encoding", "Content-Disposition",
}

func oddLines(h *mail.Header) (o odd) {
	for _, f := range h.Fields {
		o.notField = o.notField || f.Name() == ""
		if f.SpaceBeforeColon() {
			o.space = true
			o.keySpace = o.keySpace || slices.ContainsFunc(keyFields, f.Is)
		}
		o.empty = o.empty || emptyFold(f.Raw)
	}
	o.nul = bytes.IndexByte(h.Raw, 0) >= 0
	for _, c := range h.Raw {
		if c >= 0x80 {
			o.eight = true
			break
		}
	}
	return o
}

// emptyFold reports a folded line of white space only (RFC 5322 section 4.2,
// obsolete): some readers take it for the end of the header section.
func emptyFold(raw []byte) bool {
	for {
		i := bytes.IndexByte(raw, '\n')
		if i < 0 || i+1 == len(raw) {
			return false
		}
		raw = raw[i+1:]
		line := raw
		if j := bytes.IndexByte(raw, '\n'); j >= 0 {
			line = raw[:j]
		}
		if len(bytes.TrimRight(line, " \t\r")) == 0 && len(line) > 0 {
			return true
		}
	}
}
