package queue

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// A message of our own is as durable as any, large ones too; it counts as
// generated, and when it fails under NOTIFY=NEVER nobody hears of it.
func TestGenerate(t *testing.T) {
	dir, o := t.TempDir(), Options{SpillAt: 8 << 10}
	q := mustOpen(t, fsx.OS{}, dir, o)
	want := map[mail.ID][]byte{}
	for _, size := range []int{0, 100, 100 << 10} {
		now := time.Now()
		env := &mail.Envelope{
			ID: mail.NewID(now), Arrived: now, ReversePath: "reports@example.org",
			Recipients: []mail.Recipient{{Path: "a@d.example", Notify: mail.NotifyNever}},
		}
		head, body := []byte("Subject: report\r\n\r\n"), bytes.Repeat([]byte("x"), size)
		if err := q.Generate(env, head, body); err != nil {
			t.Fatal(err)
		}
		want[env.ID] = append(head, body...)
	}
	if l := q.Stats().Ledger; l.Generated != 3 || l.Accepted != 0 || l.Imbalance() != 0 {
		t.Errorf("ledger %+v", l)
	}
	mustClose(t, q)
	q = mustOpen(t, fsx.OS{}, dir, o)
	for id, text := range want {
		var got strings.Builder
		if err := q.Show(id, 0, &got); err != nil || !strings.HasSuffix(got.String(), string(text)) {
			t.Errorf("%d octets: %v", got.Len(), err)
		}
	}
	n := newNext()
	n.reply = func(mail.Destination, *mail.Message, int) mail.Outcome {
		return mail.Outcome{Result: mail.Failed, Reply: mail.Reply{Code: 550, Text: "no"}}
	}
	run(t, q, n, func() bool { l := q.Stats().Ledger; return l.Failed == 3 })
	if l := q.Stats().Ledger; l.Generated != 0 || l.Imbalance() != 0 {
		t.Errorf("after the failure %+v", l)
	}
	mustClose(t, q)
	if err := q.Generate(&mail.Envelope{ID: mail.NewID(time.Now()), Recipients: []mail.Recipient{{Path: "a@d.example"}}}, []byte("\r\n"), nil); err == nil {
		t.Error("a closed queue took it")
	}
}
