package pattern

import (
	"errors"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkTree refuses what could never match, or not mean what it says, on
// lower-cased text of which only a stretch is looked at.
func checkTree(re *syntax.Regexp) error {
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText:
		return errors.New("^ and $ have no meaning here")
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 && strings.ContainsFunc(string(re.Rune), unicode.IsUpper) {
			return errors.New("has capitals, but text is lower-cased before it is matched")
		}
	}
	for _, sub := range re.Sub {
		if err := checkTree(sub); err != nil {
			return err
		}
	}
	return nil
}

// maxLength is how many octets re can match at most; false when there is no
// bound.
func maxLength(re *syntax.Regexp) (int, bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return len(string(re.Rune)) * foldGrowth(re), true
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return utf8.UTFMax, true
	case syntax.OpStar, syntax.OpPlus:
		return 0, false
	case syntax.OpRepeat: // Simplify leaves only unbounded ones
		return 0, false
	case syntax.OpAlternate:
		longest := 0
		for _, sub := range re.Sub {
			n, ok := maxLength(sub)
			if !ok {
				return 0, false
			}
			longest = max(longest, n)
		}
		return longest, true
	}
	sum := 0
	for _, sub := range re.Sub {
		n, ok := maxLength(sub)
		if !ok {
			return 0, false
		}
		sum += n
	}
	return sum, true
}

// foldGrowth allows for letters whose other case is longer.
func foldGrowth(re *syntax.Regexp) int {
	if re.Flags&syntax.FoldCase != 0 {
		return utf8.UTFMax
	}
	return 1
}

// required is a set of literals one of which is in every match; nil for none.
func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if set := required(sub); better(set, best) {
				best = set
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			set := required(sub)
			if set == nil {
				return nil
			}
			all = append(all, set...)
		}
		if len(all) > maxSets {
			return nil
		}
		return all
	}
	return nil
}

// better prefers the set whose shortest literal is longer, then fewer ones.
func better(a, b []string) bool {
	if a == nil || b == nil {
		return a != nil
	}
	if x, y := shortest(a), shortest(b); x != y {
		return x > y
	}
	return len(a) < len(b)
}

func shortest(set []string) int {
	n := len(set[0])
	for _, s := range set {
		n = min(n, len(s))
	}
	return n
}
