// The source of the code blocks with which tools/check_docs.py is tested.
int main(int argc, char**)
{
    const int numbers[] = {1, 2, argc};
    // [sum]
    int sum = 0;
    for (int n : numbers)
        sum += n;
    // [/sum]
    return sum == 4 ? 0 : 1;
}
