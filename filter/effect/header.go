package effect

import (
	"bytes"
	"mime"
	"slices"
	"strings"

	"mailweir/filter"
	"mailweir/internal/dkimcore"
	"mailweir/mail"
)

// Edited is a header section after the edits that rules want.
type Edited struct {
	Header  *mail.Header // the one that was given when nothing changed
	Effects []Effect
	// Changed are the lower-case names of fields that are not as they came.
	Changed []string
}

// Edit applies the edits of acts to head. original is the header section that
// dkim speaks of; head may be it, redacted. A field that a DKIM signature
// covers, one that could not be checked included, stays as it is unless the
// rule permits more. subject is the decoded subject.
func Edit(head, original *mail.Header, dkim []filter.DKIMFacts, subject string, acts []filter.RuleAct) Edited {
	out := Edited{Header: head}
	var e *editor
	for _, a := range acts {
		for i := range a.Edits {
			if e == nil {
				e = newEditor(head, original, dkim, subject)
			}
			out.Effects = append(out.Effects, e.apply(a.Symbol, &a.Edits[i]))
		}
	}
	if e != nil && len(e.changed) > 0 {
		h := mail.ParseHeader(e.bytes())
		out.Header, out.Changed = &h, e.changed
	}
	return out
}

// editor is a header section under change.
type editor struct {
	added   [][]byte // on top, the last one first
	fields  []mail.Field
	rest    []byte // the empty line
	covered map[string]int
	subject string
	changed []string
}

func newEditor(head, original *mail.Header, dkim []filter.DKIMFacts, subject string) *editor {
	size := 0
	for _, f := range head.Fields {
		size += len(f.Raw)
	}
	return &editor{fields: slices.Clone(head.Fields), rest: head.Raw[size:], covered: covered(original, dkim), subject: subject}
}

func (e *editor) bytes() []byte {
	var b []byte
	for k := len(e.added) - 1; k >= 0; k-- {
		b = append(b, e.added[k]...)
	}
	for _, f := range e.fields {
		b = append(b, f.Raw...)
	}
	return append(b, e.rest...)
}

// covered tells for each lower-case name how often h= has it in a signature
// that may be valid: one is that is not known to have failed.
func covered(h *mail.Header, dkim []filter.DKIMFacts) map[string]int {
	most := map[string]int{}
	for i, f := range h.Fields {
		if !f.Is("DKIM-Signature") {
			continue
		}
		k := slices.IndexFunc(dkim, func(d filter.DKIMFacts) bool { return d.SignatureIndex == i })
		if k >= 0 && dkim[k].Result == "fail" {
			continue
		}
		tags, err := dkimcore.ParseTags(string(f.Body()))
		if err != nil {
			continue // to nobody it is a signature
		}
		names, _ := dkimcore.Lookup(tags, "h")
		counts := map[string]int{}
		for name := range strings.SplitSeq(strings.ToLower(dkimcore.Squeeze(names.Value)), ":") {
			counts[name]++
			most[name] = max(most[name], counts[name])
		}
	}
	return most
}

func (e *editor) apply(rule string, edit *filter.HeaderEdit) Effect {
	out := Effect{Rule: rule, Does: edit.String()}
	name := strings.ToLower(edit.Name)
	there := 0
	for _, f := range e.fields {
		if f.Is(edit.Name) {
			there++
		}
	}
	signed := e.covered[name] > 0
	if edit.Kind == filter.AddHeader { // one more is covered only where h= has one more
		signed = e.covered[name] > there
	}
	onTop := edit.Kind == filter.AddHeader || there == 0
	switch {
	case edit.Kind == filter.RemoveHeader && there == 0:
		out.Skipped = SkippedAbsent
	case edit.Kind == filter.SubjectPrefix && e.prefixed(edit.Value):
		out.Skipped = SkippedPresent
	case signed && !edit.Signed:
		out.Skipped = SkippedSigned
	case onTop && len(e.fields) > 0 && e.fields[0].Name() == "":
		out.Skipped = SkippedMalformed // what goes on top would be continued by it
	default:
		e.do(edit, onTop)
		out.Broke = signed
		if !slices.Contains(e.changed, name) {
			e.changed = append(e.changed, name)
		}
	}
	return out
}

// do makes an edit that may be made.
func (e *editor) do(edit *filter.HeaderEdit, onTop bool) {
	switch {
	case onTop:
		e.added = append(e.added, []byte(edit.Name+": "+encoded(edit.Value, "")+"\r\n"))
	case edit.Kind == filter.SubjectPrefix:
		for k, f := range e.fields {
			if f.Is("Subject") {
				e.fields[k] = field(prefix(f, edit.Value))
			}
		}
		e.subject = edit.Value + e.subject
	case edit.Kind == filter.SetHeader:
		first := slices.IndexFunc(e.fields, func(f mail.Field) bool { return f.Is(edit.Name) })
		kept := slices.DeleteFunc(e.fields[first+1:], func(f mail.Field) bool { return f.Is(edit.Name) })
		e.fields[first] = field([]byte(edit.Name + ": " + encoded(edit.Value, "") + "\r\n"))
		e.fields = e.fields[:first+1+len(kept)]
	case edit.Kind == filter.RemoveHeader:
		e.fields = slices.DeleteFunc(e.fields, func(f mail.Field) bool { return f.Is(edit.Name) })
	}
}

func field(raw []byte) mail.Field { return mail.ParseHeader(raw).Fields[0] }

// prefixed: replies to a message with the prefix have it already.
func (e *editor) prefixed(prefix string) bool {
	return strings.Contains(e.subject, strings.TrimSpace(prefix))
}

// maxFirst is how long a field's first line may become before it is folded (998
// octets, RFC 5322 section 2.1.1).
const maxFirst = 900

// prefix is a Subject field with words before its own.
func prefix(f mail.Field, words string) []byte {
	body := bytes.TrimLeft(f.Body(), " \t")
	p := encoded(words, string(body))
	first := bytes.IndexByte(body, '\n')
	b := append([]byte{}, "Subject: "...)
	b = append(b, p...)
	if first > maxFirst || len(p) > 200 && first > 200 {
		b = append(bytes.TrimRight(b, " "), "\r\n "...)
	}
	return append(b, body...)
}

// encoded is text of a field: as it is, or in encoded words (RFC 2047) where it
// is not ASCII. White space between two encoded words is not shown, so that it
// has to be inside; between an encoded word and other text it is.
func encoded(s, before string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r > '~' }) {
		return s
	}
	trimmed := strings.TrimRight(s, " ")
	if trimmed != s && !strings.HasPrefix(before, "=?") {
		s = trimmed
	}
	words := strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
	if before == "" {
		return words
	}
	return words + " "
}
