package queue

import (
	"bytes"
	"io"

	"mailweir/mail"
)

// returned is the third part: the header section, or the whole message when
// the sender asked for it (RET=FULL) and it is not large.
func (w *dsnWriter) returned(head []byte) {
	head = withoutTrace(head)
	if body := w.fullBody(len(head)); body != nil {
		w.returnMessage(head, body)
		return
	}
	contentType := "text/rfc822-headers" // RFC 6522 section 4
	if w.utf8 {
		contentType = "message/global-headers" // RFC 6533 section 5
	}
	w.text(contentType, bytes.TrimSuffix(head, []byte("\r\n")))
}

func (w *dsnWriter) returnMessage(head, body []byte) {
	contentType, encoding := "message/rfc822", ""
	if w.utf8 {
		contentType = "message/global"
	}
	// RFC 2046 section 5.2.1: no encoding but 7bit and 8bit here.
	if !isASCII(head) || !isASCII(body) {
		encoding, w.eightBit = "8bit", true
	}
	w.part(contentType, encoding)
	w.b.Write(head)
	w.b.Write(body)
	w.b.WriteString("\r\n")
}

// fullBody is the body when it is to be returned, else nil.
func (w *dsnWriter) fullBody(head int) []byte {
	// RET is for failures (RFC 3461 section 4.3).
	if w.news != newsFailed || w.m.Envelope.Return != "FULL" || w.m.Body.Size()+int64(head) > maxReturned {
		return nil
	}
	r, err := w.m.Body.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		return nil
	}
	return append([]byte{}, body...)
}

// traceFields tell, or may tell, the way that a message took to us, or what we
// thought of it.
var traceFields = []string{
	"Received", "X-Received", "Received-SPF", "Authentication-Results", "ARC-Authentication-Results",
	"X-Originating-IP", "X-Client-IP", "X-Sender-IP", "X-Real-IP", "X-Forwarded-For", "X-Remote-IP",
	"X-PHP-Originating-Script", "X-PHP-Script", "X-Source", "X-Source-Args", "X-Source-Dir", "X-Source-IP",
	"X-Originating-Client-IP", "X-Spam-Status", "X-Spam-Score", "X-Spam-Flag",
}

func withoutTrace(head []byte) []byte {
	h := mail.ParseHeader(head)
	out := make([]byte, 0, len(head))
fields:
	for _, f := range h.Fields {
		for _, name := range traceFields {
			if f.Is(name) {
				continue fields
			}
		}
		out = append(out, f.Raw...)
	}
	return append(out, "\r\n"...)
}
