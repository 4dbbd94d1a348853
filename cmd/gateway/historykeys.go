package main

import (
	"path/filepath"

	"mailweir/internal/config"
	"mailweir/internal/daykey"
	"mailweir/queue"
)

// The history names clients and mail addresses all over its facts, which must
// stay whole for 'why' and 'replay': so it is sealed, by a key a day that goes
// with the day, and that lies under the spool's master key where there is one.

func historyKeyDir(cfg *config.Config) string {
	return filepath.Join(string(cfg.DataDir), "keys", "history")
}

// historyKeys are for who reads the history.
func historyKeys(cfg *config.Config) (*daykey.Keys, error) {
	masters, err := spoolKeys(cfg)
	if err != nil {
		return nil, err
	}
	return daykey.New(historyKeyDir(cfg), cfg.History.Keep, dayMasters(masters)...), nil
}

// openHistoryKeys are for who writes it, and puts the keys under the master key
// of now.
func openHistoryKeys(cfg *config.Config) (*daykey.Keys, error) {
	masters, err := spoolKeys(cfg)
	if err != nil {
		return nil, err
	}
	return daykey.Open(historyKeyDir(cfg), cfg.History.Keep, dayMasters(masters)...)
}

func dayMasters(keys []queue.Key) []daykey.Master {
	masters := make([]daykey.Master, len(keys))
	for i, k := range keys {
		masters[i] = daykey.Master(k)
	}
	return masters
}
