package smtpd

import (
	"fmt"
	"strings"
	"testing"
)

// endings are what some mail system, somewhere, takes for the end of DATA.
func endings() []string {
	breaks := []string{"\r\n", "\n", "\r", "\r\r\n", "\n\r", "\x00\r\n", "\r\x00\n", "\r\n\x00"}
	var list []string
	for _, before := range breaks {
		for _, after := range breaks {
			for _, dot := range []string{".", ".\x00"} {
				if before == "\r\n" && after == "\r\n" && dot == "." {
					continue // the real one
				}
				list = append(list, before+dot+after)
			}
		}
	}
	return list
}

const smuggled = "MAIL FROM:<evil@client.example>\r\nRCPT TO:<victim@example.org>\r\nDATA\r\nSubject: y\r\n\r\ny"

// TestSmuggling: whatever stands in for the end of data, there is exactly one
// message or a 5yz, and never a second message.
func TestSmuggling(t *testing.T) {
	tried := 0
	for _, ending := range endings() {
		body := "Subject: x\r\n\r\nx" + ending + smuggled + "\r\n"
		for _, cut := range []int{0, 15, 16, 17, 18, 19, len(body) - 1} {
			d := &desk{}
			s := memServer(d, nil)
			got := codes(run(t, s, ListenerOptions{}, pieces(preamble+"DATA\r\n", body[:cut], body[cut:]+".\r\n", "NOOP\r\nQUIT\r\n")))
			// ending + "." may itself hold a real end of data: then what
			// follows is commands to every reader, and the server says so.
			if n := len(d.taken()); n > 1 {
				t.Fatalf("%q cut at %d: %d messages, %s", ending, cut, n, got)
			}
			real := strings.Index(body+".\r\n", "\r\n.\r\n")
			atEnd := real == len(body)-2
			if atEnd && got != "220 250 250 250 354 550 250 221" {
				t.Fatalf("%q cut at %d: %s", ending, cut, got)
			}
			if n := len(d.taken()); atEnd && n != 0 {
				t.Fatalf("%q cut at %d: %d messages", ending, cut, n)
			}
			tried++
		}
	}
	if tried < 500 {
		t.Fatalf("only %d tried", tried)
	}
}

// TestSmugglingSegments cuts the client's bytes at every octet.
func TestSmugglingSegments(t *testing.T) {
	for _, body := range []string{
		"Subject: x\r\n\r\n..x\r\n.\r\n",
		"Subject: x\r\n\r\nx\n.\n" + smuggled + "\r\n.\r\n",
		"Subject: x\r\n\r\nx\r\n.\n" + smuggled + "\r\n.\r\n",
		"Subject: x\r\n\r\nx\r.\r" + smuggled + "\r\n.\r\n",
		"Subject: x\r\n\r\nx\r\n.\r\r\n" + smuggled + "\r\n.\r\n",
	} {
		want := "220 250 250 250 354 550 221"
		if strings.HasPrefix(body, "Subject: x\r\n\r\n..x") {
			want = "220 250 250 250 354 250 221"
		}
		for cut := range body {
			d := &desk{}
			got := codes(run(t, memServer(d, nil), ListenerOptions{},
				pieces(preamble+"DATA\r\n", body[:cut], body[cut:]+"QUIT\r\n")))
			if got != want {
				t.Fatalf("%q cut at %d: %s, want %s", body, cut, got, want)
			}
		}
	}
}

// TestSmugglingChunks puts every ending into BDAT, with the chunk boundary at
// every octet. The counts decide alone where a message ends; its lines must be
// lines all the same, since a next hop may get it by DATA.
func TestSmugglingChunks(t *testing.T) {
	clean := "Subject: x\r\n\r\n.\r\n..\r\n" + smuggled + "\r\n"
	bodies := append(endings(), "")
	for _, ending := range bodies {
		body := "Subject: x\r\n\r\nx" + ending + smuggled + "\r\n"
		want := "220 250 250 250 250 550 221"
		if ending == "" {
			body, want = clean, "220 250 250 250 250 250 221"
		}
		for cut := 0; cut <= len(body); cut++ {
			d := &desk{}
			chunks := fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", cut, body[:cut], len(body)-cut, body[cut:])
			got := codes(run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+chunks+"QUIT\r\n")))
			// A fault in the first chunk is said there; the second one is
			// read and dropped.
			if got != want && !(ending != "" && got == "220 250 250 250 550 503 221") {
				t.Fatalf("%q cut at %d: %s, want %s", body, cut, got, want)
			}
			letters := d.taken()
			if ending != "" && len(letters) != 0 {
				t.Fatalf("%q cut at %d: %d messages", body, cut, len(letters))
			}
			if ending == "" && (len(letters) != 1 || letters[0].Data != body) {
				t.Fatalf("%q cut at %d: %q", body, cut, letters)
			}
		}
	}
}

// TestSmugglingUnterminated: BDAT can carry a last line without CRLF, DATA
// cannot pass it on unchanged.
func TestSmugglingUnterminated(t *testing.T) {
	for _, body := range []string{"x", "x\r\ny", "x\r", "\r"} {
		d := &desk{}
		got := run(t, memServer(d, nil), ListenerOptions{},
			pieces(preamble+fmt.Sprintf("BDAT %d LAST\r\n%sQUIT\r\n", len(body), body)))
		if codes(got) != "220 250 250 250 550 221" || len(d.taken()) != 0 {
			t.Fatalf("%q: %q", body, got)
		}
	}
}

// TestTruncated: a message cut short is no message, wherever it is cut.
func TestTruncated(t *testing.T) {
	data := "Subject: x\r\n\r\nx\r\n.\r\n"
	for cut := range data {
		d := &desk{}
		run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"DATA\r\n", data[:cut]))
		d.wantLetters(t, 0)
	}
	for cut := range 10 {
		d := &desk{}
		run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"BDAT 12 LAST\r\n"+"123456789\r\n"[:cut]))
		d.wantLetters(t, 0)
		run(t, memServer(d, nil), ListenerOptions{}, pieces(preamble+"BDAT 12\r\n0123456789\r\nBDAT 12 LAST\r\n"+"123456789\r\n"[:cut]))
		d.wantLetters(t, 0)
	}
}
