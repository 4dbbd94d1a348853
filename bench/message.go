package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// The domains of the built-in messages and of the DNS zone that goes with them.
const (
	senderDomain = "sender.test"
	ownDomain    = "mx.test"
	selector     = "s1"
)

// builtin makes a message of about so many octets: multipart/mixed with a
// text, an HTML alternative and a base64 attachment that takes what is left.
// It is the same in every run.
func builtin(size int) []byte {
	r := mathrand.New(mathrand.NewPCG(1, uint64(size)))
	var b bytes.Buffer
	b.WriteString(strings.ReplaceAll(messageTop, "\n", "\r\n"))
	b.WriteString(prose(r, 900))
	b.WriteString(strings.ReplaceAll(messageHTML, "\n", "\r\n"))
	b.WriteString(prose(r, 900))
	b.WriteString(strings.ReplaceAll(messageAttachment, "\n", "\r\n"))
	raw := make([]byte, 57) // 76 characters of base64
	for b.Len() < size-len("--b1--\r\n") {
		for k := range raw {
			raw[k] = byte(r.Uint32())
		}
		b.WriteString(base64.StdEncoding.EncodeToString(raw) + "\r\n")
	}
	b.WriteString("--b1--\r\n")
	return b.Bytes()
}

var words = strings.Fields(`the a meeting minutes plan for next week and we have agreed that budget of this
	month should go to project team review please find attached report on progress since last friday all
	figures are in table two questions remain open about delivery date in spring which our supplier could not
	confirm yet thank you kind regards`)

// prose is lines of words, n octets or a little more.
func prose(r *mathrand.Rand, n int) string {
	var b strings.Builder
	for line := 0; b.Len() < n; {
		w := words[r.IntN(len(words))]
		if line += len(w) + 1; line > 72 {
			b.WriteString("\r\n")
			line = len(w)
		} else if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String() + "\r\n"
}

const messageTop = `Received: from [203.0.113.77] (helo=laptop.sender.test)
	by mail.sender.test (Mailer 4.2) with ESMTPSA id 1a2b3c-0001
	for <user@mx.test>; Sat, 21 Nov 2026 12:00:01 +0000
Message-ID: <20261121120001.1a2b3c@sender.test>
Date: Sat, 21 Nov 2026 12:00:01 +0000
From: Alice Example <alice@sender.test>
To: User <user@mx.test>
Subject: Minutes of the meeting and the plan for next week
X-Originating-IP: [203.0.113.77]
User-Agent: Mailer/4.2 (X11; Linux x86_64)
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

--b1
Content-Type: multipart/alternative; boundary="b2"

--b2
Content-Type: text/plain; charset=utf-8

Hello,

the plan is at https://www.sender.test/plan?week=48 and the minutes follow.

`

const messageHTML = `
--b2
Content-Type: text/html; charset=utf-8

<html><head><title>Minutes</title></head><body><p>Hello,</p>
<p>the plan is <a href="https://www.sender.test/plan?week=48">here</a>:</p>
<p>
`

const messageAttachment = `</p></body></html>

--b2--
--b1
Content-Type: application/octet-stream; name="plan.bin"
Content-Disposition: attachment; filename="plan.bin"
Content-Transfer-Encoding: base64

`

// loadMessage reads "4k", "64k", a number of octets, or a file, of which line
// ends become CRLF.
func loadMessage(name string) ([]byte, error) {
	if digits, kilo := strings.CutSuffix(name, "k"); digits != "" && strings.Trim(digits, "0123456789") == "" {
		n, err := strconv.Atoi(digits)
		if kilo {
			n <<= 10
		}
		if err != nil || n > 100<<20 {
			return nil, fmt.Errorf("message %q: at most 100 MiB", name)
		}
		return builtin(n), nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	if len(raw) == 0 {
		return nil, fmt.Errorf("message %s is empty", name)
	}
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")), nil
}
