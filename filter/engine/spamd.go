package engine

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
)

// spamd speaks the protocol of SpamAssassin's daemon
// (https://svn.apache.org/repos/asf/spamassassin/trunk/spamd/PROTOCOL):
//
//	SYMBOLS SPAMC/1.5              ->
//	Content-length: 1234           ->
//	(empty line, the message)      ->
//	                               <- SPAMD/1.1 0 EX_OK
//	                               <- Spam: True ; 6.2 / 5.0
//	                               <- (empty line)
//	                               <- BAYES_50,GTUBE
//
// It names the rules that matched, and gives the score of all together.
type spamd struct{ Address }

// Ask implements Asker.
func (s spamd) Ask(ctx context.Context, m *Message) (Answer, error) {
	conn, stop, err := s.dial(ctx)
	if err != nil {
		return Answer{}, err
	}
	defer stop()
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n", m.Size); err != nil {
		return Answer{}, err
	}
	if n, err := io.Copy(conn, io.LimitReader(m.Open(), m.Size)); err != nil {
		return Answer{}, err
	} else if n != m.Size {
		return Answer{}, io.ErrUnexpectedEOF
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() // a hint: the length was said
	}
	return readReply(conn)
}

func readReply(conn net.Conn) (Answer, error) {
	b, err := io.ReadAll(io.LimitReader(conn, maxReply))
	if err != nil {
		return Answer{}, err
	}
	return readSpamd(string(b))
}

func readSpamd(reply string) (Answer, error) {
	head, body, whole := strings.Cut(reply, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	status := strings.Fields(lines[0])
	if !whole || len(status) < 3 || !strings.HasPrefix(status[0], "SPAMD/") {
		return Answer{}, fmt.Errorf("%w: no status and header", ErrReply)
	}
	if status[1] != "0" {
		return Answer{}, fmt.Errorf("%w: its status is %.20q", ErrRefused, status[1])
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(name, "Spam") {
			continue
		}
		_, scores, _ := strings.Cut(value, ";")
		text, _, _ := strings.Cut(scores, "/")
		score, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(score) || math.IsInf(score, 0) {
			return Answer{}, fmt.Errorf("%w: its score is %.40q", ErrReply, text)
		}
		a := Answer{Score: score, Symbols: map[string]float64{}}
		for _, s := range strings.FieldsFunc(body, func(r rune) bool { return r == ',' || r <= ' ' }) {
			a.Symbols[s] = 0
		}
		return a, nil
	}
	return Answer{}, fmt.Errorf("%w: no score in it", ErrReply)
}
