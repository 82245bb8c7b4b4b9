// Calls a running service through the client that openapi-generator generates (see __main__.py).
package main

import (
	"context"
	"fmt"
	"os"

	pycalc "github.com/pycalc/client"
)

const password = "correct horse battery staple"

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	configuration := pycalc.NewConfiguration()
	configuration.Servers = pycalc.ServerConfigurations{{URL: os.Args[1]}}
	client := pycalc.NewAPIClient(configuration)
	public := context.Background()

	account := pycalc.NewRegistration("golang", "golang@example.com", password)
	_, _, err := client.AccountsAPI.Register(public).Registration(*account).Execute()
	check(err)
	session, _, err := client.AccountsAPI.LogIn(public).Credentials(*pycalc.NewCredentials("golang", password)).Execute()
	check(err)
	caller := context.WithValue(public, pycalc.ContextAccessToken, session.AccessToken)

	made, _, err := client.CalculationsAPI.Fibonacci(caller, "47").Execute()
	check(err)
	if *made.Calculation.Result.Number.Int64 != 2971215073 {
		check(fmt.Errorf("F(47) is 2971215073, got %d", *made.Calculation.Result.Number.Int64))
	}
	summary, _, err := client.CalculationsAPI.Fibonacci(caller, "1000000000000000000").View("summary").Execute()
	check(err)
	if *summary.Summary.Digits.String != "208987640249978734" {
		check(fmt.Errorf("F(10^18) has 208987640249978734 digits, got %s", *summary.Summary.Digits.String))
	}
	request := pycalc.NewCalculationRequest("fibonacci", map[string]pycalc.Operand{"n": {String: pycalc.PtrString("90")}})
	posted, _, err := client.CalculationsAPI.Calculate(caller).CalculationRequest(*request).Execute()
	check(err)
	read, _, err := client.CalculationsAPI.GetCalculation(caller, posted.Calculation.Id).Execute()
	check(err)
	if read.Operation != "fibonacci" {
		check(fmt.Errorf("the calculation is of fibonacci, got %s", read.Operation))
	}
	page, _, err := client.HistoryAPI.ListHistory(caller).Execute()
	check(err)
	if len(page.Items) != 3 {
		check(fmt.Errorf("the history holds 3 calculations, got %d", len(page.Items)))
	}
}
