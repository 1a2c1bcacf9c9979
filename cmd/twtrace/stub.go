package main

import "github.com/urfave/cli/v2"

func topCommand() *cli.Command    { return &cli.Command{Name: "top", Action: runTop} }
func topFlags() []cli.Flag        { return nil }
func runTop(c *cli.Context) error { return nil }
func doctorCommand() *cli.Command { return &cli.Command{Name: "doctor", Action: runTop} }
func demoCommand() *cli.Command   { return &cli.Command{Name: "demo", Action: runTop} }
func (s *session) knowListeners() {}
