package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"mailweir/internal/config"
	"mailweir/mail"
	"mailweir/report"
)

const dmarcHelp = `
gateway dmarc reports VERB --config FILE [flags] [DOMAIN...]

DMARC aggregate reports (RFC 9990). They are made of the history, once a day for
the day before; [dmarc.reports] switches them on.

  list   the reports of a day, and what became of them
  show   one report's XML, as it is or would be sent; needs the DOMAIN
  send   send a day's reports now, by the running gateway: those that have not
         been sent, and only those of the DOMAINs if there are any

Without --day it is yesterday (UTC). list and show need no running gateway, and
know today's as far as it has come.

exit status: 0, or 10 when reports wait for DNS or the queue; 1 an error, 2 usage.
`

// exitWaiting tells that something is left to be sent.
const exitWaiting = 10

type reportsOptions struct {
	config string
	day    string
	json   bool
}

func dmarcCommand(ctx context.Context, std stdio, args []string) (int, error) {
	o := reportsOptions{day: string(report.DayOf(time.Now().AddDate(0, 0, -1)))}
	fs := flags(std, "dmarc", dmarcHelp)
	fs.StringVar(&o.config, "config", "", "config `FILE`")
	fs.StringVar(&o.day, "day", o.day, "`DAY` of the reports")
	fs.BoolVar(&o.json, "json", false, "list, send: print one JSON object a line")
	rest, err := parse(fs, args)
	if err != nil {
		return 0, err
	}
	if len(rest) < 2 || rest[0] != "reports" || o.config == "" {
		return 0, errUsage
	}
	day, err := report.ParseDay(o.day)
	if err != nil {
		return 0, err
	}
	cfg, err := loadConfig(o.config)
	if err != nil {
		return 0, err
	}
	var domains []string
	for _, d := range rest[2:] {
		domains = append(domains, mail.CanonicalDomain(d))
	}
	switch verb := rest[1]; {
	case verb == "list":
		return exitOK, o.list(std, cfg, day, domains)
	case verb == "show" && len(domains) == 1:
		return exitOK, o.show(std, cfg, day, domains[0])
	case verb == "send":
		return o.send(ctx, std, cfg, day, domains)
	}
	return 0, errUsage
}

// reportLine is one report of `list`; its JSON is a public interface.
type reportLine struct {
	ID       string   `json:"report_id"`
	Domain   string   `json:"domain"`
	Messages int      `json:"messages"`
	State    string   `json:"state"` // of the journal, or "waiting"
	To       []string `json:"to"`
	Queue    string   `json:"queue_id"` // "" unless queued
	Problems []string `json:"problems"`
}

func (o *reportsOptions) list(std stdio, cfg *config.Config, day report.Day, domains []string) error {
	lines, err := reportLines(cfg, day)
	if err != nil {
		return err
	}
	for _, l := range lines {
		if len(domains) > 0 && !slices.Contains(domains, l.Domain) {
			continue
		}
		if o.json {
			if err := json.NewEncoder(std.out).Encode(l); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(std.out, "%-8s %6d messages  %-30s %s\n", l.State, l.Messages, l.Domain, strings.Join(l.To, ", "))
		for _, p := range l.Problems {
			fmt.Fprintf(std.out, "      !  %s\n", printable(p))
		}
	}
	return nil
}

// reportLines joins what the journal says with what it does not know yet.
func reportLines(cfg *config.Config, day report.Day) ([]reportLine, error) {
	entries, err := report.ReadJournal(reportsDir(cfg), day)
	if err != nil {
		return nil, err
	}
	reports, err := collectReports(cfg, day)
	if err != nil {
		return nil, err
	}
	var list []reportLine
	for _, e := range entries {
		if e.State != report.Done {
			list = append(list, reportLine{e.ID, e.Domain, e.Messages, string(e.State), append([]string{}, e.To...), e.Queue, append([]string{}, e.Problems...)})
		}
	}
	for _, r := range reports {
		if !slices.ContainsFunc(list, func(l reportLine) bool { return l.ID == r.ID }) {
			list = append(list, reportLine{r.ID, r.Domain, r.Messages, "waiting", []string{}, "", []string{}})
		}
	}
	return list, nil
}

func collectReports(cfg *config.Config, day report.Day) ([]*report.Report, error) {
	keys, err := historyKeys(cfg)
	if err != nil {
		return nil, err
	}
	return report.Collect(historyDir(cfg), keys, string(cfg.Hostname), day, hiddenClients(cfg))
}

func (o *reportsOptions) show(std stdio, cfg *config.Config, day report.Day, domain string) error {
	reports, err := collectReports(cfg, day)
	if err != nil {
		return err
	}
	for _, r := range reports {
		if r.Domain == domain {
			s := submitter(cfg)
			return r.XML(std.out, &s)
		}
	}
	return fmt.Errorf("no report for %s: on %s no message came in its name, or its policy record asks for none, or privacy.redact hides who sent them", domain, day)
}

func (o *reportsOptions) send(ctx context.Context, std stdio, cfg *config.Config, day report.Day, domains []string) (int, error) {
	body, err := json.Marshal(reportsRequest{string(day), domains})
	if err != nil {
		return 0, err
	}
	answer, err := newControl(ctx, cfg).do(http.MethodPost, "/reports/send", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	for in := json.NewDecoder(answer); ; {
		var r reportsResult
		if err := in.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the gateway has stopped meanwhile; what it has queued, it sends")
			}
			return 0, err
		}
		if r.Left != nil {
			return o.sent(std, *r.Left, r.Error)
		}
		if o.json {
			err = json.NewEncoder(std.out).Encode(r.Entry)
		} else {
			_, err = fmt.Fprintf(std.out, "%-8s %6d messages  %-30s %s\n", r.State, r.Messages, r.Domain, strings.Join(r.To, ", "))
		}
		if err != nil {
			return 0, err
		}
	}
}

func (o *reportsOptions) sent(std stdio, left int, problem string) (int, error) {
	if problem != "" {
		return 0, errors.New(problem)
	}
	if left > 0 {
		fmt.Fprintf(std.err, "%d reports wait for DNS or the queue; the gateway tries them again, and its log says why\n", left)
		return exitWaiting, nil
	}
	return exitOK, nil
}
