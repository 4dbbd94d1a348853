package report

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"mime"
	netmail "net/mail"
	"strings"
	"time"

	"mailweir/mail"
)

// compress makes the attachment: gzip without a name or a time in it, so that
// the same report is the same file.
func (r *Report) compress(s *Submitter) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := r.XML(z, s); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// fileName is prescribed by RFC 9990.
func (r *Report) fileName(s *Submitter) string {
	return fmt.Sprintf("%s!%s!%d!%d!%s.xml.gz", s.Host, r.Domain, r.Day.Begin().Unix(), r.Day.End().Unix()-1, r.ID)
}

// message is the report as mail: head and body.
func (r *Report) message(s *Submitter, to []mail.Path, attachment []byte, now time.Time) (head, body []byte) {
	const boundary = "=_dmarc_aggregate_report"
	var h bytes.Buffer
	from := netmail.Address{Name: s.Organization, Address: s.Email}
	fmt.Fprintf(&h, "From: %s\r\n", from.String())
	fmt.Fprintf(&h, "To: <%s>\r\n", strings.Join(pathTexts(to), ">,\r\n <"))
	// The subject is prescribed too, word for word; its spaces may be folds.
	fmt.Fprintf(&h, "Subject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>\r\n", r.Domain, s.Host, r.ID)
	fmt.Fprintf(&h, "Date: %s\r\n", now.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
	fmt.Fprintf(&h, "Message-ID: <%s@%s>\r\n", r.ID, s.Host)
	h.WriteString("Auto-Submitted: auto-generated\r\n") // RFC 3834 section 5
	h.WriteString("MIME-Version: 1.0\r\n")
	fmt.Fprintf(&h, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", boundary)

	var b bytes.Buffer
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", boundary)
	fmt.Fprintf(&b, "This is a DMARC aggregate report (RFC 9990) about mail in the name of\r\n%s\r\nthat reached %s on %s (UTC).\r\n\r\n", r.Domain, s.Host, r.Day)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: application/gzip\r\nContent-Transfer-Encoding: base64\r\n", boundary)
	fmt.Fprintf(&b, "Content-Disposition: %s\r\n\r\n", mime.FormatMediaType("attachment", map[string]string{"filename": r.fileName(s)}))
	appendBase64(&b, attachment)
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return h.Bytes(), b.Bytes()
}

func appendBase64(b *bytes.Buffer, data []byte) {
	const octets = 57 // 76 characters a line (RFC 2045 section 6.8)
	for len(data) > 0 {
		n := min(octets, len(data))
		b.WriteString(base64.StdEncoding.EncodeToString(data[:n]))
		b.WriteString("\r\n")
		data = data[n:]
	}
}

func pathTexts(list []mail.Path) []string {
	out := make([]string, len(list))
	for k, p := range list {
		out[k] = string(p)
	}
	return out
}
