package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"mailweir/mail"
)

// maxReply bounds what an engine may answer, in octets.
const maxReply = 1 << 20

// rspamd speaks the protocol of Rspamd's workers: one POST of the message to
// /checkv2, with the envelope in header fields; the answer is JSON
// (https://rspamd.com/doc/developers/protocol.html).
type rspamd struct{ client *http.Client }

func newRspamd(a Address) rspamd {
	return rspamd{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, a.Network, a.Address)
		},
		MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}}}
}

// Ask implements Asker.
func (r rspamd) Ask(ctx context.Context, m *Message) (Answer, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://rspamd/checkv2", io.LimitReader(m.Open(), m.Size))
	if err != nil {
		return Answer{}, err
	}
	q.ContentLength = m.Size
	for _, r := range m.Envelope.Recipients {
		q.Header.Add("Rcpt", string(r.Path))
	}
	for name, value := range map[string]string{
		"Queue-Id": m.Envelope.ID.String(), "Helo": m.Client.Helo, "Hostname": m.Client.Name, "User": m.Client.User, "IP": address(m.Client),
	} {
		if value != "" {
			q.Header.Set(name, value)
		}
	}
	q.Header.Set("From", string(m.Envelope.ReversePath))
	reply, err := r.client.Do(q)
	if err != nil {
		return Answer{}, err
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return Answer{}, fmt.Errorf("%w: HTTP status %d", ErrReply, reply.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(reply.Body, maxReply))
	if err != nil {
		return Answer{}, err
	}
	return readRspamd(body)
}

// address is the client's, "" when it is not known.
func address(c *mail.Client) string {
	if !c.Addr.IsValid() {
		return ""
	}
	return c.Addr.String()
}

func readRspamd(body []byte) (Answer, error) {
	var v struct {
		Skipped bool     `json:"is_skipped"`
		Score   *float64 `json:"score"`
		Symbols map[string]struct {
			Score float64 `json:"score"`
		} `json:"symbols"`
	}
	switch err := json.Unmarshal(body, &v); {
	case err != nil:
		return Answer{}, fmt.Errorf("%w: %w", ErrReply, err)
	case v.Skipped:
		return Answer{}, fmt.Errorf("%w: it skips it by its own settings", ErrRefused)
	case v.Score == nil:
		return Answer{}, fmt.Errorf("%w: no score in it", ErrReply)
	}
	a := Answer{Score: *v.Score, Symbols: make(map[string]float64, len(v.Symbols))}
	for name, s := range v.Symbols {
		a.Symbols[name] = s.Score
	}
	return a, nil
}
