package report

// section is a part of the page that is made of tables. All forms for people show
// the same ones.
type section struct {
	ID     string
	Title  string
	Intro  string // what the tables show, and how to read them
	Tables []table
	Empty  string // shown in place of tables that have no rows
	Notes  []string
}

// nothing reports whether there are no rows, and Empty says so.
func (s *section) nothing() bool {
	for i := range s.Tables {
		if len(s.Tables[i].Rows) > 0 {
			return false
		}
	}
	return s.Empty != ""
}

type table struct {
	Caption string
	Columns []column
	Rows    [][]cell
	Omitted string // what the table leaves out, in words
}

// maxShort is how many rows a table has at most that a printer does not split.
const maxShort = 25

// Short reports whether t fits on a part of a page.
func (t table) Short() bool { return len(t.Rows) <= maxShort }

type column struct {
	Name string
	Num  bool // numbers, aligned to the right
	Bar  bool // cells are bars
}

// cell is a value in words.
type cell struct {
	Text string
	Wrap bool    // it may take several lines
	Code bool    // it comes from outside, or is to be typed
	Mark string  // severity, which is in Text too
	Bar  float64 // length of a bar, 0 to 1
	Zoom *span   // of time, to show in the charts
}

type span struct{ From, To float64 } // seconds since the epoch

func text(s string) cell { return cell{Text: orDash(s)} }

func code(s string) cell {
	if s == "" {
		return text("")
	}
	return cell{Text: s, Code: true}
}

// wrap is a text that may take several lines.
func wrap(s string) cell {
	c := text(s)
	c.Wrap = true
	return c
}

// names are programs or addresses, which may take several lines.
func names(s string) cell {
	c := code(s)
	c.Wrap = s != ""
	return c
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// add adds a row.
func (t *table) add(cells ...cell) { t.Rows = append(t.Rows, cells) }

func left(names ...string) []column {
	var out []column
	for _, n := range names {
		out = append(out, column{Name: n})
	}
	return out
}

func right(names ...string) []column {
	var out []column
	for _, n := range names {
		out = append(out, column{Name: n, Num: true})
	}
	return out
}
