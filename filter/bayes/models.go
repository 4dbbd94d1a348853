package bayes

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path"
	"sync/atomic"
	"time"

	"mailweir/internal/fsx"
)

// The folders below the one for all that was learned: one for all domains
// together, and one for each domain that was taught by itself.
const (
	globalDir  = "global"
	domainsDir = "domains"
)

// Dir is the folder of a scope: of a domain, in canonical form, or "" for all.
func Dir(learned, domain string) string {
	if domain == "" {
		return path.Join(learned, globalDir)
	}
	return path.Join(learned, domainsDir, domain)
}

// Models are the models in force. They follow what `gateway learn` writes; a
// file that cannot be read leaves the model before it in force.
type Models struct {
	fs      fsx.FS
	dir     string
	log     *slog.Logger
	scopes  atomic.Pointer[map[string]scope] // by domain, "" for all
	current map[string]scope                 // of Reload, which one goroutine calls
}

// scope is the model of one folder, as it was seen last.
type scope struct {
	model *Model
	files *fileTable // nil: none were learned
	err   error      // why there is none
	at    time.Time
	size  int64
}

// NewModels reads the models below dir.
func NewModels(f fsx.FS, dir string, log *slog.Logger) *Models {
	m := &Models{fs: f, dir: dir, log: log, current: map[string]scope{}}
	m.Reload()
	return m
}

// watchEvery is how soon a new model is noticed.
const watchEvery = 2 * time.Second

// Watch follows the files until ctx ends.
func (m *Models) Watch(ctx context.Context) {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			m.Reload()
		}
	}
}

// Reload looks for new models. It must not run beside itself.
func (m *Models) Reload() {
	next := map[string]scope{}
	m.look(next, "")
	domains, err := m.fs.ReadDir(path.Join(m.dir, domainsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Error("learned models of domains cannot be read", "error", err)
		return // those in force stay
	}
	for _, d := range domains {
		if d.Dir {
			m.look(next, d.Name)
		}
	}
	m.current = next
	m.scopes.Store(&next)
}

// look reads the model of a domain into next, unless it is the one in force.
func (m *Models) look(next map[string]scope, domain string) {
	old, seen := m.current[domain]
	dir := Dir(m.dir, domain)
	list, err := m.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	file := fsx.Info{}
	for _, i := range list {
		if i.Name == modelName {
			file = i
		}
	}
	if err == nil && file.Name == "" {
		return // nothing learned, or erased
	}
	if err == nil && seen && old.err == nil && file.ModTime.Equal(old.at) && file.Size == old.size {
		next[domain] = old
		return
	}
	s := scope{at: file.ModTime, size: file.Size}
	if err == nil {
		s.model, err = LoadModel(m.fs, dir)
	}
	if err == nil {
		var damaged error
		if s.files, damaged = newFileTable(m.fs, dir); damaged != nil { // the model is worth more
			m.log.Error("learned fingerprints of files cannot be read", "dir", dir, "error", damaged)
			s.files = old.files
		}
	}
	if err != nil {
		if old.err == nil || old.err.Error() != err.Error() { // it is tried again and again
			m.log.Error("a learned model cannot be read", "dir", dir, "error", err)
		}
		s.model, s.files, s.err = old.model, old.files, err
	} else if m.scopes.Load() != nil {
		spam, ham := s.model.Learned()
		m.log.Info("a new learned model is in force", "dir", dir, "spam", spam, "ham", ham)
	}
	next[domain] = s
}

// of is the model for mail to domain: its own where that has learned enough,
// else the one for all.
func (m *Models) of(domain string, minimum int) scope {
	scopes := *m.scopes.Load()
	if s, ok := scopes[domain]; ok && s.model != nil && s.model.enough(minimum) {
		return s
	}
	return scopes[""]
}

// HasFiles reports that files were learned: only then their fingerprints are
// worth taking.
func (m *Models) HasFiles() bool {
	for _, s := range *m.scopes.Load() {
		if s.files != nil {
			return true
		}
	}
	return false
}

// Ready reports that one of the models has learned enough to have a say: only then
// words are worth collecting.
func (m *Models) Ready(minimum int) bool {
	for _, s := range *m.scopes.Load() {
		if s.model != nil && s.model.enough(minimum) {
			return true
		}
	}
	return false
}

func (m *Model) enough(minimum int) bool { return m.spam >= minimum && m.ham >= minimum }
