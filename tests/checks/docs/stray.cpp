// In no build file on purpose.
int numbers[3];
// [sum]
int sum = 0;
// [/sum]
