package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"text/template"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"
)

// message fills in a message's template, and signs it.
func (d *demo) message(m demoMessage) ([]byte, error) {
	text, err := demoFiles.ReadFile("demo/" + m.file)
	if err != nil {
		return nil, err
	}
	t, err := template.New(m.file).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"Date": time.Now().Format(time.RFC1123Z),
		// In halves, or scanners would flag this very file.
		"GTUBE": "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-" + "UBE-TEST-EMAIL*C.34X",
		"EICAR": `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`,
	})
	if err != nil {
		return nil, err
	}
	data := normalize(b.Bytes())
	if !m.sign {
		return data, nil
	}
	var signed bytes.Buffer
	err = dkim.Sign(&signed, bytes.NewReader(data), &dkim.SignOptions{
		Domain: "sender.example", Selector: "demo", Signer: d.signer,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID"},
	})
	return signed.Bytes(), err
}

// submit sends one message in a session of its own and returns the reply that
// ended it.
func (d *demo) submit(m demoMessage, data []byte) (text string, code int, err error) {
	conn, err := net.Dial("tcp", d.gw.listeners[0].Addr().String())
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	if conn, err = claim(conn, m.client); err != nil {
		return "", 0, err
	}
	c := smtp.NewClient(conn)
	text, err = transact(c, m, data)
	var refused *smtp.SMTPError
	if errors.As(err, &refused) {
		return fmt.Sprintf("%d.%d.%d %s", refused.EnhancedCode[0], refused.EnhancedCode[1], refused.EnhancedCode[2], refused.Message), refused.Code, nil
	}
	return text, 250, err
}

func transact(c *smtp.Client, m demoMessage, data []byte) (string, error) {
	if err := c.Hello("mail.sender.example"); err != nil {
		return "", err
	}
	if err := c.Mail(m.from, nil); err != nil {
		return "", err
	}
	if err := c.Rcpt(m.to, nil); err != nil {
		return "", err
	}
	w, err := c.Data()
	if err != nil {
		return "", err
	}
	if _, err := w.Write(data); err != nil {
		return "", err
	}
	resp, err := w.CloseWithResponse()
	if err != nil {
		return "", err
	}
	return resp.StatusText, c.Quit()
}

// claim speaks XCLIENT on a fresh connection, and returns the connection with
// the new banner still to be read.
func claim(conn net.Conn, addr string) (net.Conn, error) {
	r := bufio.NewReader(conn)
	for _, command := range []string{"", "EHLO demo.example\r\n", "XCLIENT ADDR=" + addr + "\r\n"} {
		if _, err := io.WriteString(conn, command); err != nil {
			return nil, err
		}
		for more := true; more; {
			line, err := r.ReadString('\n')
			if err != nil {
				return nil, err
			}
			more = len(line) > 3 && line[3] == '-'
			if line[0] != '2' {
				return nil, errors.New("XCLIENT: " + strings.TrimSpace(line))
			}
		}
	}
	return &rebannered{conn, strings.NewReader("220 after XCLIENT\r\n")}, nil
}

// rebannered gives the client the banner of the fresh session.
type rebannered struct {
	net.Conn
	banner *strings.Reader
}

func (c *rebannered) Read(p []byte) (int, error) {
	if c.banner.Len() > 0 {
		return c.banner.Read(p)
	}
	return c.Conn.Read(p)
}
