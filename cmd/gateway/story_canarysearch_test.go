package main

import (
	"bytes"
	"encoding/base64"
	"mime"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailweir/internal/mailtest"
)

// canaryMarks are in every name, address and subject of the canary letters.
var canaryMarks = []string{".isp.example", "mailcanary", "subjectcanary", "personcanary"}

// canarySearch looks for the spellings of many clients at once, in what is too
// much to look through once for each.
type canarySearch struct {
	forms   map[string]bool
	lengths []int
	octets  int
	seen    map[int]bool
}

func newCanarySearch() *canarySearch {
	return &canarySearch{forms: map[string]bool{}, seen: map[int]bool{}}
}

func (s *canarySearch) spellings() int { return len(s.forms) }

func (s *canarySearch) add(m *mailtest.Canary) {
	for _, f := range m.Forms() {
		if strings.Contains(f, ".isp.example") {
			continue // a mark finds it
		}
		s.forms[f] = true
		if !s.seen[len(f)] {
			s.seen[len(f)] = true
			s.lengths = append(s.lengths, len(f))
			slices.Sort(s.lengths)
		}
	}
}

// in fails for whatever it finds, in the text and in what the text encodes.
func (s *canarySearch) in(t *testing.T, where string, data []byte) {
	t.Helper()
	const chunk, overlap = 8 << 20, 4 << 10
	for len(data) > chunk+overlap {
		s.in(t, where, data[:chunk+overlap])
		data = data[chunk:]
		s.octets -= overlap
	}
	s.octets += len(data)
	for _, text := range readings(string(data)) {
		for _, found := range s.find([]byte(strings.ToLower(text))) {
			t.Errorf("%s has %q", where, found)
		}
	}
}

func (s *canarySearch) find(data []byte) (found []string) {
	for _, mark := range canaryMarks {
		if i := bytes.Index(data, []byte(mark)); i >= 0 {
			found = append(found, string(data[max(0, i-80):min(len(data), i+80)]))
		}
	}
	for i := 0; i < len(data); {
		if !ofAddress[data[i]] {
			i++
			continue
		}
		end := i
		for end < len(data) && ofAddress[data[end]] {
			end++
		}
		found = append(found, s.inRun(data, i, end)...)
		i = end
	}
	return found
}

// inRun tries every part of a run of octets that addresses are made of. Digits
// without a separator among them count alone: in the middle of longer ones they
// are chance.
func (s *canarySearch) inRun(data []byte, from, to int) (found []string) {
	for i := from; i < to; i++ {
		for _, n := range s.lengths {
			if i+n > to {
				break
			}
			part := data[i : i+n]
			if !s.forms[string(part)] {
				continue
			}
			if bytes.ContainsAny(part, ".:-_") || (i == 0 || !isWord(data[i-1])) && (i+n == len(data) || !isWord(data[i+n])) {
				found = append(found, string(part))
			}
		}
	}
	return found
}

func isWord(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

var ofAddress = func() (set [256]bool) {
	for _, c := range []byte("0123456789abcdefx.:-_") {
		set[c] = true
	}
	return set
}()

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{12,}`)

// readings are a text, and what it can mean: folds undone, quoted-printable,
// encoded words and base64 decoded, at each of its four beginnings.
func readings(text string) []string {
	unfolded := strings.NewReplacer("\r\n ", "", "\r\n\t", "", `\`, "").Replace(text)
	list := []string{text, unfolded, strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(text)}
	if strings.Contains(text, "=") {
		var qp bytes.Buffer
		_, _ = qp.ReadFrom(quotedprintable.NewReader(strings.NewReader(text))) // up to where it is none
		list = append(list, qp.String())
		words := mime.WordDecoder{CharsetReader: nil}
		if decoded, err := words.DecodeHeader(unfolded); err == nil {
			list = append(list, decoded)
		}
	}
	var decoded strings.Builder
	for _, run := range base64Run.FindAllString(text, -1) {
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for start := range 4 {
			part := run[start:]
			b, _ := base64.RawStdEncoding.DecodeString(part[:len(part)/4*4])
			decoded.Write(b)
			decoded.WriteByte('\n')
		}
	}
	return append(list, decoded.String())
}

// TestCanarySearch plants a canary of each kind and coding in other text.
func TestCanarySearch(t *testing.T) {
	m := mailtest.NewCanary(3, 13)
	s := newCanarySearch()
	s.add(m)
	l := &canaryLetter{Canary: m}
	qp := strings.NewReplacer(".", "=2E", ":", "=3A", "-", "=\r\n-")
	for _, form := range m.Forms() {
		for name, text := range map[string]string{
			"plain": form, "upper case": strings.ToUpper(form), "quoted-printable": qp.Replace(form),
			"base64": base64.StdEncoding.EncodeToString([]byte("it is " + form + " here")), "base64, shifted": "YW" + base64.StdEncoding.EncodeToString([]byte("it is "+form+" here")),
			"encoded word": mime.QEncoding.Encode("utf-8", "ä"+form), "folded": form[:4] + "\r\n\t" + form[4:],
		} {
			text = "before [" + text + "] behind"
			var found []string
			for _, r := range readings(text) {
				found = append(found, s.find([]byte(strings.ToLower(r)))...)
			}
			if len(found) == 0 || !slices.Contains(l.found(text), form) {
				t.Errorf("%s of %s: %q in %q", name, form, found, text)
			}
		}
	}
	if found := s.find([]byte("before [192.0.2.1] 2026-11-29 behind")); len(found) > 0 {
		t.Errorf("%q in nothing", found)
	}
}
