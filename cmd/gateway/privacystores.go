package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailweir/filter/bayes"
	"mailweir/filter/effect"
	"mailweir/internal/fsx"
	"mailweir/internal/logfile"
	"mailweir/mail"
	"mailweir/report"
)

// What is kept of an address in other ways than lines and rows: under keyed
// hashes, which the address is looked up by, and in files that admins make.

// lessons calls do with the store of each scope in which something was learned.
// Root leaves the files to the gateway's user.
func (p *person) lessons(ctx context.Context, do func(*bayes.Store) error) error {
	dirs, err := bayes.Scopes(fsx.OS{}, learnedDir(p.cfg))
	if err != nil || len(dirs) == 0 {
		return err
	}
	for _, dir := range dirs {
		store, oerr := bayes.Open(ctx, fsx.OS{}, dir, p.cfg.Learn.Keep)
		if oerr == nil {
			oerr = errors.Join(do(store), store.Close())
		}
		if oerr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", dir, oerr))
		}
	}
	return errors.Join(err, sameOwner(string(p.cfg.DataDir), learnedDir(p.cfg)))
}

// eraseLessons forgets what was learned from messages of the address.
func (p *person) eraseLessons(ctx context.Context) (n int, stays []string, err error) {
	err = p.lessons(ctx, func(s *bayes.Store) error {
		n += s.ForgetBy(p.address)
		return s.Commit()
	})
	if errors.Is(err, bayes.ErrDamaged) {
		return n, []string{fmt.Sprintf("what was learned, hashed: %v", err)}, nil
	}
	return n, nil, err
}

// answersJSON is what is exported of answers that rules have sent.
type answersJSON struct {
	Until time.Time `json:"not_answered_again_before"`
}

func (p *person) answers() (list []answersJSON, err error) {
	until, err := effect.Answered(fsx.OS{}, ledgerFile(p.cfg), mail.Path(p.address), time.Now())
	for _, t := range until {
		list = append(list, answersJSON{t})
	}
	return list, err
}

// eraseAnswers is for a gateway that is not running, which has the file open.
func (p *person) eraseAnswers() (n int, err error) {
	name := ledgerFile(p.cfg)
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	l, err := effect.OpenLedger(fsx.OS{}, name, time.Now())
	if err != nil {
		return 0, err
	}
	n, err = l.Forget(mail.Path(p.address))
	return n, errors.Join(err, l.Close(), sameOwner(string(p.cfg.DataDir), name))
}

// domain is that of the address: what is remembered of senders is of all who
// send from it, and no data of one person.
func (p *person) domain() string { return p.address[strings.LastIndexByte(p.address, '@')+1:] }

// reports are the journals of DMARC reports, which name their recipients.
func (p *person) reports() ([]lineFile, error) {
	days, err := report.Journals(reportsDir(p.cfg))
	var files []lineFile
	for _, path := range slices.Sorted(maps.Keys(days)) {
		files = append(files, lineFile{path, p.mentions})
	}
	return files, err
}

// elsewhere names what this command cannot erase, for it is not ours to change
// or not here.
func (p *person) elsewhere() (stays []string, err error) {
	if p.cfg.Log.Dir == "" && p.cfg.Privacy.LogAddresses != "pseudonymous" {
		stays = append(stays, "the log on standard error, which has addresses as they are: whoever keeps it has it (log.dir is not set)")
	}
	if file := string(p.cfg.Outbound.Passwords); file != "" {
		user := logfile.NewMentions(p.address)
		err = logfile.Each(file, user, func(line []byte) error {
			if name, _, _ := strings.Cut(string(line), ":"); strings.EqualFold(name, p.address) {
				stays = append(stays, fmt.Sprintf("the user %s who may log in: a line of %s", name, file))
			}
			return nil
		})
	}
	entries, aerr := p.entries()
	for _, e := range entries {
		how := fmt.Sprintf("gateway %s remove %s", e.List, e.What)
		if e.From == "config" {
			how = "it is in the config"
		}
		stays = append(stays, fmt.Sprintf("%s entry about %s: %s", e.List, e.What, how))
	}
	broken, berr := p.broken()
	return append(stays, broken...), errors.Join(err, aerr, berr)
}

// broken are files that damage has put aside and that have the address in clear:
// those of an encrypted spool have not.
func (p *person) broken() (stays []string, err error) {
	paths, err := filepath.Glob(filepath.Join(spoolDir(p.cfg), "corrupt", "*"))
	for _, path := range paths {
		has, herr := fileHas(path, strings.ToLower(p.address))
		if err = errors.Join(err, herr); has {
			stays = append(stays, fmt.Sprintf("broken octets that the spool has put aside: %s; look at it, and delete it", path))
		}
	}
	return stays, err
}

// fileHas looks for a word, which is in lower case, among octets of any kind. A
// file that is gone has none.
func fileHas(path, word string) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	buf := make([]byte, 1<<20)
	for kept := 0; ; {
		n, err := io.ReadFull(file, buf[kept:])
		piece := buf[:kept+n]
		if bytes.Contains(bytes.ToLower(piece), []byte(word)) {
			return true, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf, piece[len(piece)-min(len(piece), len(word)):])
	}
}
