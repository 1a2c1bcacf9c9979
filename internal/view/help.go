package view

// keyCells is how wide the keys are in the help.
const keyCells = 14

// help is every key, in lines that are whole.
func help(d *Display, width int, c Caps) (title string, lines []string) {
	part := func(name string) {
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, name)
	}
	add := func(yes bool, key, what string) {
		if !yes {
			return
		}
		for _, l := range c.wrap(what, width-keyCells-len("    ")) {
			lines = append(lines, "  "+c.fit(key, keyCells, false)+"  "+l)
			key = ""
		}
	}
	part("move")
	add(true, "j k arrows", "by one row; PgUp PgDn by a screen; Home End to the ends")
	add(true, "Enter", "details of the row or event, what is wrong with it and what helps; n p next, previous row")
	add(true, "Esc", "leave the page; clear the filter; remove the cursor")
	add(true, "1-5 Tab", "flows, processes, peers, listeners, events")
	part("show")
	add(true, "s < >", "sort by the next or the previous column; I reverses the order")
	add(true, "C", "choose the columns")
	add(true, "g", "group rows by flow, process, unit, peer or network namespace")
	add(true, "/", "filter: nginx, :8080, 10.77, 10.77.0.2:8080, port 8080, netns web, uid 33; several words mean all of them; ! negates one; Tab completes, up and down go through the history")
	add(!d.Offers.Names, "p", "full addresses of peers; other columns make room")
	add(d.Offers.Names, "p", "full addresses of peers; again: their names, which the resolver is asked for")
	add(true, "D", "doctor: all findings, with evidence and what to do")
	part("copy")
	add(true, "y", "copy the command on the screen that helps, or an ss command for the row; again: the next command")
	add(true, "Y", "copy the command that takes the last one back")
	add(true, "v", "show the command alone, in one piece, to copy it by hand")
	add(true, "", "the commands are printed on exit, too")
	part("time")
	add(true, "space Z", "pause the screen; tracing continues")
	add(d.Offers.Step, "t T, arrows", "while paused: the next and the previous interval of the last minutes")
	add(d.Offers.Interval, "+ -", "change the interval, 0.5 to 60 s")
	add(d.Offers.Reset, "r", "reset lifetimes, closers and last closes")
	part("save")
	add(d.Offers.Record, "w", "start or stop recording the trace to a file")
	add(true, "e", "export the screen to a file: n JSON lines, c CSV, h HTML")
	if d.Offers.Mouse {
		part("mouse")
		add(true, "click", "a heading: sort, again: reverse. A row: select, again: open. A tab, or a command: choose or copy it")
		add(true, "wheel", "scroll; the right button goes back")
		add(true, "Shift", "held down, it selects text as without twtrace (Option in iTerm2, Fn in Terminal)")
		add(true, "M", "give the mouse to the terminal, and take it again; --no-mouse: never take it")
	}
	part("end")
	add(true, "q Ctrl-C F10", "quit")
	add(true, "Ctrl-Z", "suspend; fg resumes")
	lines = append(lines, "")
	for _, text := range []string{"! critical, ~ warning. TW is TIME_WAIT: the side that closes first holds the port for 60 s.",
		"twtrace changes nothing on this host: it shows commands, and you run them."} {
		lines = append(lines, c.wrap(text, width)...)
	}
	return " twtrace: keys", lines
}
