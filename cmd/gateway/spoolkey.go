package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mailweir/internal/config"
	"mailweir/internal/fsx"
	"mailweir/queue"
)

// spoolKeys reads the master keys of the spool; none when it lies in clear.
func spoolKeys(cfg *config.Config) ([]queue.Key, error) {
	name, err := keyFileName(cfg.Queue.EncryptionKey)
	if name == "" || err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("queue.encryption_key: %w", err)
	}
	keys, err := queue.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("queue.encryption_key: %s: %w", name, err)
	}
	return keys, nil
}

func keyFileName(source config.KeySource) (string, error) {
	credential := source.Credential()
	if credential == "" {
		return string(source), nil
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("queue.encryption_key: %q comes from systemd: write LoadCredential=%s:/path into the unit, and for commands use 'systemd-run --pipe -p LoadCredential=...'", source, credential)
	}
	return filepath.Join(dir, credential), nil
}

const keyHelp = `
gateway queue key new FILE                 make a master key for queue.encryption_key
gateway queue key rotate --config FILE     use a new one from now on, and end the old
gateway queue key rotate --config FILE --keys KEYS
                                           the same for a key that systemd gives

new writes FILE with mode 0600; it must not exist. Give it to the user that the
gateway runs as, and keep a copy away from the machine and from backups of
data_dir: without the key the mail in the spool is lost.

rotate puts a new key into the file of queue.encryption_key, lets the running
gateway (or, where none runs, this command) seal the keys of the spool with it,
begins a new epoch, and takes the old key out of the file. Mail is received and
relayed meanwhile. Interrupted, it leaves a file with both keys, which is good:
run it again.

A key that comes from systemd (encryption_key = "credential:...") is read once,
when the unit starts. To change it without a restart: put the line of the new key
before the old one where the credential comes from, run rotate with that file as
KEYS ("-" reads standard input, for 'systemd-creds decrypt'), then take the old
line out. The running gateway gets the keys over its control socket, as root or
its own user; the next start reads the credential.

exit status: 0; 1 it could not be done; 2 wrong arguments.
`

// keyCommand is 'gateway queue key'.
func keyCommand(ctx context.Context, std stdio, args []string) (int, error) {
	var configFile, keys string
	fs := flags(std, "queue", keyHelp)
	fs.StringVar(&configFile, "config", "", "config `FILE`")
	fs.StringVar(&keys, "keys", "", "`FILE` with the keys of a credential, the new one first")
	args, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	switch {
	case len(args) == 2 && args[0] == "new" && configFile == "" && keys == "":
		if err := newKeyFile(args[1]); err != nil {
			return exitError, err
		}
		fmt.Fprintf(std.out, "%s made; name it in [queue] encryption_key, and keep a copy elsewhere\n", args[1])
		return exitOK, nil
	case len(args) == 1 && args[0] == "rotate" && configFile != "":
		cfg, err := loadConfig(configFile)
		if err != nil {
			return exitError, err
		}
		if keys != "" {
			return useKeys(ctx, std, cfg, keys)
		}
		if err := rotateKey(ctx, cfg); err != nil {
			return exitError, err
		}
		fmt.Fprintf(std.out, "the spool has a new master key; the old one is out of %s\n", cfg.Queue.EncryptionKey)
		return exitOK, nil
	}
	return 0, errUsage
}

func newKeyFile(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(queue.NewKeyLine())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsx.OS{}.SyncDir(filepath.Dir(name))
	}
	return err
}

// rotateKey changes the master key. At each moment the file has every key that
// the spool needs.
func rotateKey(ctx context.Context, cfg *config.Config) error {
	name := string(cfg.Queue.EncryptionKey)
	switch {
	case name == "":
		return errors.New("queue.encryption_key is not set: there is no key to rotate")
	case cfg.Queue.EncryptionKey.Credential() != "":
		return fmt.Errorf("%s comes from systemd: change it there, then add --keys; 'gateway queue key --help' says how", name)
	}
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if _, err := queue.ParseKeys(old); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	line := queue.NewKeyLine()
	if err := replaceKeyFile(name, line+string(old)); err != nil {
		return err
	}
	c := newControl(ctx, cfg)
	if err = c.dial(); err == nil {
		err = c.rekey("")
	} else if errors.Is(err, errNotRunning) {
		err = rekeyStopped(cfg)
	}
	if err != nil {
		return fmt.Errorf("%s has both keys now, and the spool may need both: %w", name, err)
	}
	return replaceKeyFile(name, line+comments(string(old)))
}

// useKeys takes the keys of a credential into use that was changed where it
// comes from.
func useKeys(ctx context.Context, std stdio, cfg *config.Config, file string) (int, error) {
	if cfg.Queue.EncryptionKey.Credential() == "" {
		return exitError, errors.New("--keys is for a key that systemd gives: without it rotate changes the file of queue.encryption_key")
	}
	text, err := readKeysFile(std, file)
	if err != nil {
		return exitError, err
	}
	keys, err := queue.ParseKeys(text)
	if err != nil {
		return exitError, fmt.Errorf("%s: %w", file, err)
	}
	c := newControl(ctx, cfg)
	if err = c.dial(); err == nil {
		err = c.rekey(string(text))
	} else if errors.Is(err, errNotRunning) {
		err = queue.Rekey(fsx.OS{}, spoolDir(cfg), keys)
	}
	if err != nil {
		return exitError, fmt.Errorf("the spool may need all keys of %s: %w", file, err)
	}
	fmt.Fprintln(std.out, "the spool needs the first key only: take the others out of where the credential comes from")
	return exitOK, nil
}

func readKeysFile(std stdio, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(std.in, 64<<10))
	}
	return os.ReadFile(file)
}

// comments is what an admin wrote beside the keys.
func comments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if t := strings.TrimSpace(line); t == "" || t[0] == '#' {
			b.WriteString(line)
		}
	}
	return b.String()
}

func rekeyStopped(cfg *config.Config) error {
	keys, err := spoolKeys(cfg)
	if err != nil {
		return err
	}
	if err := queue.Rekey(fsx.OS{}, spoolDir(cfg), keys); err != nil {
		return err
	}
	_, err = openHistoryKeys(cfg)
	return err
}

// replaceKeyFile replaces a key file as a whole, with its mode and owner.
func replaceKeyFile(name, text string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		err = f.Chown(int(st.Uid), int(st.Gid))
	}
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return fsx.OS{}.SyncDir(filepath.Dir(name))
}

// serveRekey takes the first of the master keys into use: those that it is
// given, or else what is in the file now.
func (g *gateway) serveRekey(cfg *config.Config) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body actionRequest
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 128<<10)).Decode(&body)
		var keys []queue.Key
		switch {
		case err != nil:
		case body.Keys != "":
			keys, err = queue.ParseKeys([]byte(body.Keys))
		default:
			keys, err = spoolKeys(cfg)
		}
		if err == nil {
			err = errors.Join(g.queue.Rekey(keys), g.sealing.Rekey(dayMasters(keys)))
		}
		by, result := peerOf(r), actionResult{OK: err == nil}
		if err != nil {
			result.Error = err.Error()
			g.log.Error("queue: no new master key", "uid", by.UID, "pid", by.PID, "err", err)
		} else {
			g.log.Info("queue: new master key", "uid", by.UID, "pid", by.PID)
		}
		_ = json.NewEncoder(w).Encode(result) // else who asked has gone
	}
}

// rekey asks the running gateway for it.
func (c *control) rekey(keys string) error {
	var failed error
	err := c.act("rekey", actionRequest{Keys: keys}, func(r actionResult) error {
		if !r.OK {
			failed = errors.New(r.Error)
		}
		return nil
	})
	return errors.Join(err, failed)
}
