package report

import (
	"encoding/xml"
	"fmt"
	"io"

	"mailweir/filter/dmarc"
)

// Submitter is who reports.
type Submitter struct {
	Host         string // our host name
	Organization string
	Email        string // an address that takes questions; the report comes from it
	Contact      string // "" or more, a web page for example
	Version      string // of the program
}

// The elements of RFC 9990, in the order of its tables.
type (
	feedback struct {
		XMLName  xml.Name    `xml:"urn:ietf:params:xml:ns:dmarc-2.0 feedback"`
		Version  string      `xml:"version"`
		Metadata metadata    `xml:"report_metadata"`
		Policy   published   `xml:"policy_published"`
		Records  []recordXML `xml:"record"`
	}
	metadata struct {
		Organization string   `xml:"org_name"`
		Email        string   `xml:"email"`
		Contact      string   `xml:"extra_contact_info,omitempty"`
		ID           string   `xml:"report_id"`
		Begin        int64    `xml:"date_range>begin"`
		End          int64    `xml:"date_range>end"`
		Errors       []string `xml:"error,omitempty"`
		Generator    string   `xml:"generator"`
	}
	published struct {
		Domain    string `xml:"domain"`
		Discovery string `xml:"discovery_method"`
		P         string `xml:"p"`
		SP        string `xml:"sp"`
		NP        string `xml:"np"`
		ADKIM     string `xml:"adkim"`
		ASPF      string `xml:"aspf"`
		Testing   string `xml:"testing"`
	}
	recordXML struct {
		Row         rowXML      `xml:"row"`
		Identifiers identifiers `xml:"identifiers"`
		Results     results     `xml:"auth_results"`
	}
	rowXML struct {
		Source    string    `xml:"source_ip"`
		Count     int       `xml:"count"`
		Evaluated evaluated `xml:"policy_evaluated"`
	}
	evaluated struct {
		Disposition string   `xml:"disposition"`
		DKIM        string   `xml:"dkim"`
		SPF         string   `xml:"spf"`
		Reason      []reason `xml:"reason,omitempty"`
	}
	reason struct {
		Type string `xml:"type"`
	}
	identifiers struct {
		HeaderFrom   string `xml:"header_from"`
		EnvelopeFrom string `xml:"envelope_from"`
	}
	results struct {
		DKIM []dkimXML `xml:"dkim"`
		SPF  []spfXML  `xml:"spf"`
	}
	dkimXML struct {
		Domain   string `xml:"domain"`
		Selector string `xml:"selector"`
		Result   string `xml:"result"`
	}
	spfXML struct {
		Domain string `xml:"domain"`
		Scope  string `xml:"scope"`
		Result string `xml:"result"`
	}
)

// XML writes the report.
func (r *Report) XML(w io.Writer, s *Submitter) error {
	f := feedback{
		Version: "1.0",
		Metadata: metadata{
			Organization: s.Organization, Email: s.Email, Contact: s.Contact, ID: r.ID,
			Begin: r.Day.Begin().Unix(), End: r.Day.End().Unix() - 1, Generator: "Mailweir " + s.Version,
		},
		Policy:  publish(r.Domain, r.Policy),
		Records: make([]recordXML, len(r.Rows)),
	}
	if r.Left > 0 {
		f.Metadata.Errors = []string{fmt.Sprintf("%d messages of the rarest kinds are not listed: the report was too large", r.Left)}
	}
	for k := range r.Rows {
		f.Records[k] = r.Rows[k].xml()
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(f); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// publish is the record with the defaults of RFC 9989 section 4.7 filled in.
func publish(domain string, p *dmarc.Record) published {
	mode := func(strict bool) string {
		if strict {
			return "s"
		}
		return "r"
	}
	out := published{
		Domain: domain, Discovery: "treewalk", P: string(p.Policy), SP: string(p.Subdomain), NP: string(p.NonExist),
		ADKIM: mode(p.StrictDKIM), ASPF: mode(p.StrictSPF), Testing: "n",
	}
	if out.SP == "" {
		out.SP = out.P
	}
	if out.NP == "" {
		out.NP = out.SP
	}
	if p.Testing {
		out.Testing = "y"
	}
	return out
}

func (r *Row) xml() recordXML {
	out := recordXML{
		Row: rowXML{Source: r.Source, Count: r.Count, Evaluated: evaluated{
			Disposition: r.Disposition, DKIM: passed(r.AlignedDKIM), SPF: passed(r.AlignedSPF),
		}},
		Identifiers: identifiers{HeaderFrom: r.HeaderFrom, EnvelopeFrom: r.EnvelopeFrom},
	}
	if r.Reason != "" {
		out.Row.Evaluated.Reason = []reason{{r.Reason}}
	}
	for _, s := range r.DKIM {
		out.Results.DKIM = append(out.Results.DKIM, dkimXML(s))
	}
	// Under the null reverse-path the MAIL FROM identity is postmaster@HELO
	// (RFC 7208 section 2.4): mfrom is right there too.
	if r.SPF != "" && r.SPFDomain != "" {
		out.Results.SPF = []spfXML{{r.SPFDomain, "mfrom", r.SPF}}
	}
	return out
}

func passed(yes bool) string {
	if yes {
		return "pass"
	}
	return "fail"
}
