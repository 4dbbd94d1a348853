// Package engine asks other mail filters what they think of a message: Rspamd
// over HTTP (rspamd.go), SpamAssassin's spamd (spamd.go), or any milter
// (milter.go). check.go makes a filter.Check of one.
//
// An engine is asked when the message is complete: none of them begins before,
// and what a slow sender holds would be missing for everybody else. It gives
// symbols and a score. Those that the config names become symbols of ours, with
// the engine's name in front of theirs; all others become one, NAME_OTHER; and
// NAME_CAP holds their sum within the cap. What else an engine wants (headers,
// another body, a reply text) is not done: the policy decides.
//
// An engine that fails, hangs or talks nonsense ends in the state error or
// timeout, which is a symbol, and the policy has an answer for it. Nothing that
// it sends is trusted further than that.
package engine
