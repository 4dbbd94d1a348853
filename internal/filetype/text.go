package filetype

import (
	"bytes"
	"unicode/utf16"
)

// detectText knows what is written in letters.
func detectText(head []byte) Type {
	text := bytes.TrimLeft(plain(head), " \t\r\n\f\x00")
	if len(text) == 0 {
		return Unknown
	}
	switch {
	case begins(text, "[internetshortcut"):
		return URL
	case begins(text, "windows registry editor"), begins(text, "regedit4"):
		return Registry
	case text[0] == '<':
		return markup(bytes.ToLower(text))
	}
	return Unknown
}

// begins reports that text begins with prefix, whatever the case of its
// letters. Nearly every text part of mail comes here and is no markup: it must
// not be copied for that.
func begins(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && bytes.EqualFold(text[:len(prefix)], []byte(prefix))
}

// markup tells the languages that begin with a bracket by the first tags.
func markup(lower []byte) Type {
	for _, m := range []struct {
		tag  string
		kind Type
	}{
		{"<hta:application", HTA}, {"<svg", SVG}, {"<!doctype svg", SVG}, {"<!doctype html", HTML}, {"<html", HTML},
		{"<job", WSF}, {"<package", WSF}, {"<scriptlet", WSF}, {"<component", WSF},
		{"<head", HTML}, {"<body", HTML}, {"<script", HTML}, {"<meta", HTML}, {"<title", HTML}, {"<iframe", HTML},
	} {
		i := bytes.Index(lower, []byte(m.tag))
		if i < 0 || !ends(lower[i+len(m.tag):]) {
			continue
		}
		switch {
		case m.kind == HTA, m.kind == SVG && onlyProlog(lower[:i]):
			return m.kind
		case m.kind == WSF && onlyProlog(lower[:i]) && bytes.Contains(lower, []byte("<script")):
			return m.kind
		case m.kind == HTML && onlyProlog(lower[:i]):
			return HTML
		}
	}
	if bytes.HasPrefix(lower, []byte("<?xml")) {
		return XML
	}
	return Unknown
}

// ends reports that a tag's name ends here.
func ends(rest []byte) bool {
	return len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n>/:"), rest[0]) >= 0
}

// onlyProlog reports that nothing but an XML declaration, a document type and
// comments stand before the first tag.
func onlyProlog(before []byte) bool {
	for {
		before = bytes.TrimLeft(before, " \t\r\n")
		switch {
		case len(before) == 0:
			return true
		case bytes.HasPrefix(before, []byte("<!--")):
			i := bytes.Index(before, []byte("-->"))
			if i < 0 {
				return false
			}
			before = before[i+3:]
		case bytes.HasPrefix(before, []byte("<?")), bytes.HasPrefix(before, []byte("<!")):
			i := bytes.IndexByte(before, '>')
			if i < 0 {
				return false
			}
			before = before[i+1:]
		default:
			return false
		}
	}
}

// plain undoes UTF-16, with its mark or without it, and drops that of UTF-8.
func plain(head []byte) []byte {
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return head[3:]
	case bytes.HasPrefix(head, []byte("\xff\xfe")):
		return fromUTF16(head[2:], 0)
	case bytes.HasPrefix(head, []byte("\xfe\xff")):
		return fromUTF16(head[2:], 1)
	case len(head) >= 4 && head[1] == 0 && head[3] == 0 && head[0] != 0 && head[2] != 0:
		return fromUTF16(head, 0)
	}
	return head
}

// fromUTF16 decodes; low is where the low octet of a unit stands.
func fromUTF16(b []byte, low int) []byte {
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, uint16(b[low])|uint16(b[1-low])<<8)
	}
	return []byte(string(utf16.Decode(units)))
}
