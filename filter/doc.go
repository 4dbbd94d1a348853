// Package filter turns a mail transaction into a verdict.
//
// Checks look at the transaction as it arrives and report symbols; they never
// decide. The chain runs them, each from the earliest moment that its input
// exists, and merges their reports in list order, so that nothing depends on
// which goroutine came first. A Scorer weighs the symbols by the rules; the
// pure function Decide turns them into one Verdict a recipient class.
//
//	connect   dnsbl iprev                    from accept on, in the background
//	MAIL      spf spf_helo                   in the background
//	data      mime content dkim (in line)    clamav (pulls with Follow)
//	final dot dmarc uribl, bayes, access, then rules, then Decide
//
// A check cannot fail silently: each ends in a State, and a State other than
// ok is a symbol that the policy must have an answer to.
package filter
