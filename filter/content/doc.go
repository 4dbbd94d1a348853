// Package content reads what a message says: the header fields as facts, the
// text as a reader sees it, HTML rendered far enough to tell shown from hidden,
// links and where they lead. It matches the text patterns of the rules, in one
// pass, and weighs nothing.
//
// It reads no body itself: the walk of filter/mime hands it the decoded text
// (Message has the methods that the walk wants), so that structure and content
// cost one pass over the octets.
package content
