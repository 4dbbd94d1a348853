package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"mailweir/filter"
	"mailweir/filter/attachment"
	"mailweir/filter/bayes"
	"mailweir/filter/mime"
	"mailweir/internal/archive"
	"mailweir/internal/config"
	"mailweir/mail"
)

// attachments makes the look into attachments of the MIME check; nil where it
// is switched off.
func (j *judge) attachments(cfg *config.Config, o judgeOptions) func(*filter.Transaction) mime.Parts {
	e := attachment.New(attachment.Options{
		Limits: archive.DefaultLimits(), Workers: runtime.GOMAXPROCS(0), Dir: holdingDir(cfg, o),
		Walk: walkMessage, Metrics: o.m.attachment,
	})
	if slices.Contains(cfg.Checks.Disabled, e.Name()) {
		return nil
	}
	return func(*filter.Transaction) mime.Parts {
		p := &attachmentParts{Message: e.Open()}
		if j.models.HasFiles() {
			p.files = &bayes.Files{}
		}
		return p
	}
}

// holdingDir is where large parts are held while they arrive: beside the
// spool. Who only judges, perhaps as another user, makes nothing there; "" is
// the system's place for such files.
func holdingDir(cfg *config.Config, o judgeOptions) string {
	if o.offline {
		return ""
	}
	dir := filepath.Join(string(cfg.DataDir), "parts")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = writable(dir)
	}
	if err != nil {
		o.log.Warn("large attachments are held in the system's temporary folder", "error", err)
		return ""
	}
	return dir
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, "part-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// attachmentParts gives the parts of the walk to the examination of
// attachments.
type attachmentParts struct {
	*attachment.Message
	files *bayes.Files // takes their fingerprints, too; nil: nobody does
}

// Begin implements mime.Taker.
func (a *attachmentParts) Begin(l *mime.Leaf) mime.Content {
	c := a.Message.Begin(partOf(l))
	if c == nil {
		return nil
	}
	if print := beginFile(a.files, l); print != nil {
		return &printed{Content: c, print: print, wanted: true}
	}
	return c
}

// Report implements mime.Parts.
func (a *attachmentParts) Report() filter.Report {
	r := a.Message.Report()
	if a.files == nil {
		return r
	}
	set := r.Set
	r.Set = func(f *filter.Facts) {
		if set != nil {
			set(f)
		}
		f.Body.Files = a.files.Prints()
	}
	return r
}

// beginFile starts the fingerprint of a part; nil where none is taken. Other
// readings of a message have the same files in other pieces.
func beginFile(files *bayes.Files, l *mime.Leaf) *bayes.Fingerprint {
	if files == nil || l.Reading != "" {
		return nil
	}
	if p := partOf(l); p.IsBody() {
		return nil
	}
	return files.Begin()
}

// printed gives the octets of a part to its examination, as long as that wants
// them, and all of them to its fingerprint.
type printed struct {
	mime.Content
	print  *bayes.Fingerprint
	wanted bool
}

// Write implements mime.Content.
func (p *printed) Write(b []byte) bool {
	p.print.Write(b)
	p.wanted = p.wanted && p.Content.Write(b)
	return true
}

// End implements mime.Content.
func (p *printed) End() {
	p.print.End()
	p.Content.End()
}

func partOf(l *mime.Leaf) attachment.Part {
	p := attachment.Part{Type: l.Type, Disposition: l.Disposition, Names: l.Names, Reading: l.Reading, Offset: l.Offset}
	if l.Inner() {
		p.Offset = -1
	}
	return p
}

// walkMessage takes a message apart that lies in an archive.
func walkMessage(message []byte, take func(attachment.Part) attachment.Content) {
	n, _ := mail.HeaderLength(message)
	h := mail.ParseHeader(message[:n])
	w := mime.NewWalker(&h, nil, taker(take))
	w.Write(message[n:])
	w.Close()
}

type taker func(attachment.Part) attachment.Content

// Begin implements mime.Taker.
func (t taker) Begin(l *mime.Leaf) mime.Content {
	if c := t(partOf(l)); c != nil {
		return c
	}
	return nil
}

func attachmentPolicy(a *config.Attachments) filter.AttachmentPolicy {
	p := filter.AttachmentPolicy{}
	for class, action := range map[filter.AttachmentClass]string{
		filter.ClassExecutable: a.Executable, filter.ClassMacro: a.Macro, filter.ClassActive: a.Active,
		filter.ClassEncrypted: a.Encrypted, filter.ClassDisguised: a.Disguised, filter.ClassBomb: a.Bomb,
		filter.ClassUnreadable: a.Unreadable,
	} {
		if action != "accept" {
			p[class] = filter.Action(action)
		}
	}
	return p
}
