# PowerShell completion of rdev. Load it in $PROFILE: rdev completion powershell | Out-String | Invoke-Expression
# rdev __complete answers (rdev_cli/faces/cli/complete.py says how); nothing of the answer is evaluated.

Register-ArgumentCompleter -Native -CommandName rdev -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object {
        if ($_ -is [System.Management.Automation.Language.StringConstantExpressionAst]) { $_.Value } else { $_.Extent.Text }
    })
    # before 7.3 an empty argument does not reach a program
    $typed = if ($wordToComplete) { "$wordToComplete" } elseif ($PSVersionTable.PSVersion -ge [version]'7.3') { '' } else { '""' }
    $program = Get-Command rdev -CommandType Application -ErrorAction SilentlyContinue | Select-Object -First 1
    if (-not $program) { return }
    $directive, $lines = @(& $program __complete @words $typed 2>$null)
    if ($directive -ne ':words') { return } # PowerShell completes files by itself
    foreach ($line in $lines) {
        $value, $tip = $line -split "`t", 2
        if (-not $tip) { $tip = $value }
        [System.Management.Automation.CompletionResult]::new($value, $value, 'ParameterValue', $tip)
    }
}
