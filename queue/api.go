package queue

import (
	"context"
	"io"
	"iter"

	"mailweir/internal/fsx"
	"mailweir/mail"
)

// This file holds the API until its parts land in the next hour.

type Deliverer interface {
	Route(rcpt mail.Path) mail.Destination
	Deliver(ctx context.Context, d mail.Destination, m *mail.Message, rcpts []int, done func(mail.Outcome))
}
type Queue struct {
	fs  fsx.FS
	dir string
}
type Intake struct{}

func Open(fs fsx.FS, dir string, o Options) (*Queue, error)                 { panic("not yet") }
func (q *Queue) Begin(ctx context.Context, sizeHint int64) (*Intake, error) { panic("not yet") }
func (i *Intake) Write(p []byte) (int, error)                               { panic("not yet") }
func (i *Intake) ReadAt(p []byte, off int64) (int, error)                   { panic("not yet") }
func (i *Intake) Content() mail.Content                                     { panic("not yet") }
func (i *Intake) Commit(ctx context.Context, m *mail.Message) error         { panic("not yet") }
func (i *Intake) Abort()                                                    { panic("not yet") }
func (q *Queue) Run(ctx context.Context, d Deliverer) error                 { panic("not yet") }
func (q *Queue) Close() error                                               { panic("not yet") }
func (q *Queue) List(f Filter) iter.Seq[Item]                               { panic("not yet") }
func (q *Queue) Get(id mail.ID) (Item, bool)                                { panic("not yet") }
func (q *Queue) Show(id mail.ID, rcpt int, w io.Writer) error               { panic("not yet") }
func (q *Queue) Flush(ids ...mail.ID) int                                   { panic("not yet") }
func (q *Queue) Hold(id mail.ID) error                                      { panic("not yet") }
func (q *Queue) Release(id mail.ID) error                                   { panic("not yet") }
func (q *Queue) Delete(id mail.ID) error                                    { panic("not yet") }
func (q *Queue) Discard(n int)                                              { panic("not yet") }
func (q *Queue) Stats() Stats                                               { panic("not yet") }
func (q *Queue) Health() error                                              { panic("not yet") }
func Inspect(fs fsx.FS, dir string) ([]Item, error)                         { panic("not yet") }
